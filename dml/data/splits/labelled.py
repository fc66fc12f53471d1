"""Chooses the training images whose labels are used. Functions of labels and a seed; knows no split and no file."""

import numpy as np

from dml.data.splits.draw import Indices
from dml.errors import UserError

_STREAM = 0x1AB  # keeps these draws apart from others with the same seed


def draw_labelled(labels: Indices, pool: Indices, labelled: int | float, seed: int, class_names: list[str]) -> Indices:
    """Draw so many samples of each class, or so large a share of it, rounded to whole samples.

    Each class is shuffled by (seed, class) and read from the start: what a smaller number draws is among what a larger
    one draws, and no class's draw depends on the others.

    Args:
        labels: int64 (N,) of all samples.
        pool: positions to draw from.
        labelled: int ≥ 1: samples per class; float in (0, 1]: share of each class.
        seed: what to draw with, ≥ 0.
        class_names: names by label, for errors.

    Returns:
        the drawn positions, ascending.

    Raises:
        UserError: the number is out of range, a class has fewer samples, or the share leaves a class empty.

    Example:
        >>> labels = np.array([0, 0, 0, 0, 1, 1])
        >>> few, more = (draw_labelled(labels, np.arange(6), n, 0, ["a", "b"]) for n in (1, 0.5))
        >>> labels[few], labels[more], bool(np.isin(few, more).all())
        (array([0, 1]), array([0, 0, 1]), True)
    """
    if labelled <= 0 or (isinstance(labelled, float) and labelled > 1):
        raise UserError(f"data.labelled={labelled}: give images per class (1, 2, ...) or a share in (0, 1]")
    drawn = [pool[:0]]  # a source may have no training images at all
    for label in np.unique(labels[pool]):
        members = pool[labels[pool] == label]
        count = _count(labelled, len(members), class_names[label])
        drawn.append(np.random.default_rng([_STREAM, seed, label]).permutation(members)[:count])
    return np.sort(np.concatenate(drawn))


def _count(labelled: int | float, size: int, name: str) -> int:
    if isinstance(labelled, int):
        if labelled > size:
            raise UserError(f"data.labelled={labelled}: class {name!r} has {size} training images; ask for fewer")
        return labelled
    count = int(labelled * size + 0.5)  # half up
    if count == 0:
        raise UserError(
            f"data.labelled={labelled} leaves class {name!r} empty ({size} training images): "
            f"ask for at least {1 / size:.2g}, or for images per class by a whole number"
        )
    return count
