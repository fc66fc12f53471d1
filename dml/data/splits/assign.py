"""Deals the readable images of a catalog into parts, and the training part into labelled and left out."""

import numpy as np

from dml.data.catalog import Catalog, take
from dml.data.splits.draw import Indices
from dml.data.splits.folds import OfficialSplit
from dml.data.splits.labelled import draw_labelled
from dml.data.splits.splits import Parts, Split, StratifiedSplit


def deal(
    catalog: Catalog, split: Split | None, labelled: int | float, seed: int, unreadable: list[int]
) -> tuple[Parts, Indices]:
    """Split a catalog.

    Args:
        catalog: what the source holds.
        split: None: the source's own split where it has one, else a fifth each for val and test, stratified.
        labelled: how much of the training part is used; see `draw_labelled`.
        seed: draws the split unless that has its own, and the labelled images.
        unreadable: positions that belong to no part.

    Returns:
        the parts, and the training images that `labelled` left out.

    Raises:
        UserError: a size asked for cannot be had.
    """
    split = split or (OfficialSplit() if catalog.parts else StratifiedSplit())
    keep = np.setdiff1d(np.arange(len(catalog)), unreadable)
    dealt = split.assign(take(catalog, keep) if unreadable else catalog, seed if split.seed is None else split.seed)
    train = draw_labelled(catalog.labels, keep[dealt.train], labelled, seed, catalog.class_names)
    parts = Parts(train, keep[dealt.val], keep[dealt.test], dealt.class_disjoint)
    return parts, np.setdiff1d(keep[dealt.train], train)
