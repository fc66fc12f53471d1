"""Class-balanced batches: distinct classes, equally many images of each; every image visited in an epoch."""

import numpy as np
from numpy.typing import NDArray

from dml.data.samplers.base import EpochBatches, Rows
from dml.data.transforms.random import mix_seed
from dml.errors import UserError


def balanced_batches(
    labels: NDArray[np.int64], classes_per_batch: int, images_per_class: int, seed: int, epoch: int
) -> Rows:
    """Lay out batches of `classes_per_batch` distinct classes × `images_per_class` images; an epoch visits every image.

    Each class is shuffled and cut into portions of `images_per_class`; the last portion is filled up with other images
    of the class (repeated ones only where the class has fewer). An epoch has as many batches as these portions need:
    max(⌈portions / classes_per_batch⌉, portions of the largest class). Classes are drawn at
    random by what they have left, those that could not be finished otherwise first; seats left free are filled with
    more portions of random classes. Every batch holds at least two classes and a positive for every image.

    Args:
        labels: int64 (N,).
        classes_per_batch: distinct classes in a batch, at least 2.
        images_per_class: images of each, at least 2.
        seed: any whole number.
        epoch: epoch number; another layout each.

    Returns:
        rows of positions into labels, each classes_per_batch × images_per_class long, class by class.

    Raises:
        UserError: no such batches are possible with these settings.

    Example:
        >>> rows = balanced_batches(np.repeat(np.arange(3), 4), 2, 2, seed=0, epoch=0)
        >>> len(rows), sorted(np.unique(np.concatenate(rows))) == list(range(12))
        (3, True)
    """
    classes = np.unique(labels)
    check_balanced(len(classes), classes_per_batch, images_per_class)
    rng = np.random.default_rng(mix_seed(seed, epoch))
    members = np.split(np.argsort(labels, kind="stable"), np.searchsorted(np.sort(labels), classes[1:]))
    portions = [cut_portions(own, images_per_class, rng) for own in members]
    seats = seat_classes(np.array([len(p) for p in portions]), classes_per_batch, rng)
    taken = np.zeros(len(classes), dtype=np.int64)
    rows: Rows = []
    for seated in seats:
        row = []
        for c in seated:
            if taken[c] == len(portions[c]):  # a free seat: the class begins anew
                portions[c] += cut_portions(rng.permutation(np.concatenate(portions[c])), images_per_class, rng)
            row.append(portions[c][taken[c]])
            taken[c] += 1
        rows.append(np.concatenate(row))
    return rows


def check_balanced(classes: int, classes_per_batch: int, images_per_class: int) -> None:
    """Refuse settings that give no class-balanced batches."""
    if classes_per_batch < 2:
        raise UserError(f"classes_per_batch={classes_per_batch}: a batch needs at least 2 classes to have a negative")
    if images_per_class < 2:
        raise UserError(
            f"{images_per_class} image per class in a batch: no positive; raise batch_size or lower classes_per_batch"
        )
    if classes_per_batch > classes:
        raise UserError(f"classes_per_batch={classes_per_batch}: the training part has {classes} classes; lower it")


def cut_portions(members: NDArray[np.int64], size: int, rng: np.random.Generator) -> Rows:
    """Shuffle the images of one class and cut them into portions of `size`, the last filled up from the others."""
    order = rng.permutation(np.unique(members))
    missing = -len(order) % size
    return list(np.resize(order, len(order) + missing).reshape(-1, size))  # begins anew where it ends


def seat_classes(portions: NDArray[np.int64], seats: int, rng: np.random.Generator) -> Rows:
    """Choose the distinct classes of each batch so that every portion finds a seat in as few batches as possible."""
    left = portions.astype(np.int64).copy()
    batches = max(-(-int(left.sum()) // seats), int(left.max()))
    rows = []
    for remaining in range(batches, 0, -1):
        # exponential races draw without replacement in proportion to what is left; urgent classes must sit now
        with np.errstate(divide="ignore"):
            keys = rng.exponential(size=len(left)) / left
        keys[left >= remaining] = -1.0
        idle = left == 0
        keys[idle] = 1e300 * (1 + rng.random(int(idle.sum())))
        chosen = np.argsort(keys, kind="stable")[:seats]
        left[chosen] = np.maximum(left[chosen] - 1, 0)
        rows.append(rng.permutation(chosen))
    return rows


class ClassBalancedBatches(EpochBatches):
    """`balanced_batches` as a sampler.

    Example:
        >>> batches = ClassBalancedBatches(np.repeat(np.arange(4), 6), classes_per_batch=4, images_per_class=3, seed=0)
        >>> [len(row) for row in batches.rows()]
        [12, 12]
    """

    def __init__(
        self,
        labels: NDArray[np.int64],
        classes_per_batch: int,
        images_per_class: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        super().__init__(seed, rank, ranks)
        self.labels = labels
        self.classes_per_batch = classes_per_batch
        self.images_per_class = images_per_class

    def layout(self, epoch: int) -> Rows:
        """Seat the classes and hand out their portions."""
        return balanced_batches(self.labels, self.classes_per_batch, self.images_per_class, self.seed, epoch)
