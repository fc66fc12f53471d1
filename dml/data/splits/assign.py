"""Assigns the readable images of a catalog to parts, and those of the training part to labelled and left out."""

import numpy as np

from dml.data.catalog import Catalog, take
from dml.data.splits.draw import Indices, group_by_label
from dml.data.splits.folds import DefaultSplit
from dml.data.splits.splits import Parts, Split
from dml.errors import UserError
from dml.ranges import check_number

_STREAM = 0x1AB  # keeps these draws apart from others with the same seed


def assign_parts(
    catalog: Catalog,
    split: Split | None,
    per_class: int | None,
    share: float,
    seed: int,
    left_out: list[int],
) -> tuple[Parts, Indices]:
    """Split a catalog.

    Args:
        catalog: what the source holds.
        split: None: the source's own split where it has one, else a fifth each for val and test, stratified.
        per_class: training images of each class that are used; None: `share` of them.
        share: share of each class in training that is used, in (0, 1].
        seed: draws the split unless that has its own, and the labelled images.
        left_out: positions that belong to no part.

    Returns:
        the parts, and the training images that were left out.

    Raises:
        UserError: a size asked for is not possible.
    """
    split = split or DefaultSplit()
    check_number("data.split.seed", seed if split.seed is None else split.seed, least=0)
    keep = np.delete(np.arange(len(catalog)), np.array(left_out, dtype=np.int64))
    parts = split.assign(take(catalog, keep) if left_out else catalog, seed if split.seed is None else split.seed)
    train = draw_labelled(catalog.labels, keep[parts.train], per_class, share, seed, catalog.class_names)
    unlabelled = np.zeros(len(catalog), dtype=np.bool_)
    unlabelled[keep[parts.train]] = True
    unlabelled[train] = False
    return Parts(train, keep[parts.val], keep[parts.test], parts.class_disjoint), np.flatnonzero(unlabelled)


def draw_labelled(
    labels: Indices, pool: Indices, per_class: int | None, share: float, seed: int, class_names: list[str]
) -> Indices:
    """Draw a number of samples of each class, or a share of it, rounded to whole samples.

    Each class is shuffled by (seed, class) and read from the start: what a smaller number draws is among what a larger
    one draws, and no class's draw depends on the others.

    Args:
        labels: int64 (N,) of all samples.
        pool: positions to draw from.
        per_class: samples of each class, ≥ 1; None: `share`.
        share: of each class, in (0, 1]; leave it at 1.0 where `per_class` is given.
        seed: what to draw with, ≥ 0.
        class_names: names by label, for errors.

    Returns:
        the drawn positions, ascending.

    Raises:
        UserError: both are given, a number is out of range, a class has fewer samples, or the share leaves it empty.

    Example:
        >>> labels = np.array([0, 0, 0, 0, 1, 1])
        >>> few = draw_labelled(labels, np.arange(6), 1, 1.0, 0, ["a", "b"])
        >>> more = draw_labelled(labels, np.arange(6), None, 0.5, 0, ["a", "b"])
        >>> labels[few], labels[more], bool(np.isin(few, more).all())
        (array([0, 1]), array([0, 0, 1]), True)
    """
    if per_class is not None and share != 1:
        raise UserError("both data.labelled_per_class and data.labelled_share are set: give one of them")
    if per_class is not None and per_class < 1:
        raise UserError(f"data.labelled_per_class={per_class}: give at least one image of each class")
    if not 0 < share <= 1:
        raise UserError(f"data.labelled_share={share}: give a share in (0, 1]")
    drawn = [pool[:0]]  # a source may have no training images at all
    for members in group_by_label(labels, pool):
        label = labels[members[0]]
        count = _count(per_class, share, len(members), class_names[label])
        drawn.append(np.random.default_rng([_STREAM, seed, label]).permutation(members)[:count])
    return np.sort(np.concatenate(drawn))


def _count(per_class: int | None, share: float, size: int, name: str) -> int:
    if per_class is not None:
        if per_class > size:
            raise UserError(
                f"data.labelled_per_class={per_class}: class {name!r} has {size} training images; ask for fewer"
            )
        return per_class
    count = int(share * size + 0.5)  # half up
    if count == 0:
        raise UserError(
            f"data.labelled_share={share} leaves class {name!r} empty ({size} training images): "
            f"ask for at least {1 / size:.2g}, or set data.labelled_per_class instead"
        )
    return count
