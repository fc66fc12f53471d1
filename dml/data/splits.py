"""Which image trains, which validates, which tests. Knows labels and groups; reads no image and no file."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dml.data.samples import Samples
from dml.errors import UserError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Parts:
    """Positions of the samples of each part, ascending.

    Attributes:
        train: what the model learns from.
        val: carved from train; chooses epochs and settings.
        test: read at the very end only.
        class_disjoint: whether val and test hold classes that train has not.
    """

    train: Indices
    val: Indices
    test: Indices
    class_disjoint: bool = False


class Split(ABC):
    """Deals the samples of a source into train, val and test.

    Args:
        seed: chooses the split; None follows the datamodule's seed.
    """

    seed: int | None

    @abstractmethod
    def assign(self, samples: Samples, seed: int) -> Parts:
        """Deal the samples.

        Args:
            samples: the catalogue.
            seed: what to draw with; whoever calls has put `self.seed` in its place where that is set.

        Raises:
            UserError: the sizes asked for cannot be had.
        """


def split_hash(samples: Samples, parts: Parts) -> str:
    """Name a split: the hash of every image's name, class and part; 16 hexadecimal digits, equal on every machine."""
    digest = hashlib.sha256()
    for part in ("train", "val", "test"):
        digest.update(f"[{part}]\n".encode())
        for i in getattr(parts, part):
            line = f"{samples.names[i]}\t{samples.class_names[samples.labels[i]]}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def resolve_size(size: float, total: int, what: str) -> int:
    """Turn a fraction (float below 1) or a count (whole number) into a count.

    Example:
        >>> resolve_size(0.25, 120, "val"), resolve_size(30, 120, "val"), resolve_size(0, 120, "val")
        (30, 30, 0)
    """
    count = round(size * total) if 0 <= size < 1 else int(size)
    if size < 0 or (size >= 1 and count != size) or count >= total:
        raise UserError(f"split {what}={size} of {total} samples: give a fraction below 1 or a count below {total}")
    return count


def stratified_counts(sizes: Indices, total: int) -> Indices:
    """Share `total` draws among classes in proportion to their sizes, by largest remainder.

    No class is drawn empty: one member at least stays behind wherever the total allows it.

    Example:
        >>> stratified_counts(np.array([60, 30, 10]), 10)
        array([6, 3, 1])
    """
    share = sizes * (total / sizes.sum())
    counts: Indices = np.minimum(np.floor(share).astype(np.int64), sizes - 1)
    while (missing := total - int(counts.sum())) > 0:
        room = counts < sizes - 1
        if not room.any():
            raise UserError(f"cannot draw {total} of {sizes.sum()} samples and leave each class one: draw fewer")
        order = np.argsort(-np.where(room, share - counts, -np.inf), kind="stable")
        counts[order[: min(missing, int(room.sum()))]] += 1
    return counts


def draw_stratified(labels: Indices, pool: Indices, total: int, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Draw `total` of `pool`, each class in proportion; returns (rest, drawn), both ascending."""
    if total == 0:
        return pool, pool[:0]
    present = np.unique(labels[pool])
    members = [pool[labels[pool] == label] for label in present]
    counts = stratified_counts(np.array([len(group) for group in members]), total)
    drawn = np.concatenate([rng.permutation(group)[:k] for group, k in zip(members, counts, strict=True)])
    drawn = np.sort(drawn)
    return np.setdiff1d(pool, drawn), drawn


class StratifiedSplit(Split):
    """Deal each class in the same proportion: train, val and test share their classes (closed set).

    Test is drawn first, so it depends on `test` and the seed alone; val is then carved from what is left.

    Args:
        val: fraction of all samples (float below 1) or count (int).
        test: likewise.
        seed: chooses the split; None follows the datamodule's seed.

    Example:
        >>> from dml.data import Digits
        >>> parts = StratifiedSplit(val=120, test=0.2).assign(Digits().open(), seed=0)
        >>> len(parts.train), len(parts.val), len(parts.test)
        (1318, 120, 359)
    """

    def __init__(self, val: int | float = 0.2, test: int | float = 0.2, seed: int | None = None) -> None:
        self.val = val
        self.test = test
        self.seed = seed

    def assign(self, samples: Samples, seed: int) -> Parts:
        """Deal the samples by class."""
        total = len(samples)
        rng = np.random.default_rng(seed)
        sizes = resolve_size(self.test, total, "test"), resolve_size(self.val, total, "val")
        rest, test = draw_stratified(samples.labels, np.arange(total), sizes[0], rng)
        train, val = draw_stratified(samples.labels, rest, sizes[1], rng)
        return Parts(train, val, test)
