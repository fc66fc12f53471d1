"""Deals the readable images of a catalogue into parts, and the training part into labelled and left out."""

import numpy as np

from dml.data.draws import Indices
from dml.data.folds import OfficialSplit
from dml.data.labelled import draw_labelled
from dml.data.samples import Samples, take
from dml.data.splits import Parts, Split, StratifiedSplit


def deal(
    samples: Samples, split: Split | None, labelled: int | float, seed: int, unreadable: list[int]
) -> tuple[Parts, Indices]:
    """Split a catalogue.

    Args:
        samples: the catalogue.
        split: None: the source's own split where it has one, else a fifth each for val and test, stratified.
        labelled: how much of the training part is used; see `draw_labelled`.
        seed: draws the split unless that has its own, and the labelled images.
        unreadable: positions that belong to no part.

    Returns:
        the parts, and the training images that `labelled` left out.

    Raises:
        UserError: a size asked for cannot be had.
    """
    split = split or (OfficialSplit() if samples.parts else StratifiedSplit())
    keep = np.setdiff1d(np.arange(len(samples)), unreadable)
    dealt = split.assign(take(samples, keep) if unreadable else samples, seed if split.seed is None else split.seed)
    train = draw_labelled(samples.labels, keep[dealt.train], labelled, seed, samples.class_names)
    parts = Parts(train, keep[dealt.val], keep[dealt.test], dealt.class_disjoint)
    return parts, np.setdiff1d(keep[dealt.train], train)
