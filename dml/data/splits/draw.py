"""Draws samples, classes or groups for a split. Pure functions of numbers."""

import math

import numpy as np
from numpy.typing import NDArray

from dml.errors import UserError

Indices = NDArray[np.int64]


def resolve_size(size: float, total: int, what: str, of: str = "samples") -> int:
    """Turn a fraction (below 1) or a count (whole number) into a count.

    Example:
        >>> resolve_size(0.25, 120, "val"), resolve_size(30, 120, "val"), resolve_size(0, 120, "val")
        (30, 30, 0)
    """
    count = round(size * total) if 0 <= size < 1 else int(size) if math.isfinite(size) else -1
    if count < 0 or size < 0 or (size >= 1 and count != size) or count >= total:
        raise UserError(f"split {what}={size} of {total} {of}: give a fraction below 1 or a count below {total}")
    return count


def stratified_counts(sizes: Indices, total: int) -> Indices:
    """Share `total` draws among classes in proportion to their sizes, by largest remainder.

    No class is emptied: one member of each stays behind.

    Args:
        sizes: (classes,) members of each.
        total: how many to draw.

    Raises:
        UserError: more are to be drawn than can be without emptying a class.

    Example:
        >>> stratified_counts(np.array([60, 30, 10]), 10)
        array([6, 3, 1])
    """
    room = int((sizes - 1).sum())
    if total > room:
        raise UserError(f"cannot draw {total} of {sizes.sum()} samples and leave each class one: draw at most {room}")
    share = sizes * (total / sizes.sum())
    counts: Indices = np.minimum(np.floor(share).astype(np.int64), sizes - 1)
    while (missing := total - int(counts.sum())) > 0:
        open_ = counts < sizes - 1
        order = np.argsort(-np.where(open_, share - counts, -np.inf), kind="stable")
        counts[order[: min(missing, int(open_.sum()))]] += 1
    return counts


def group_by_label(labels: Indices, pool: Indices) -> list[Indices]:
    """Return the samples of each class, classes ascending, each in the order of the pool; one sort for all of them.

    Example:
        >>> group_by_label(np.array([1, 0, 1, 5]), np.array([3, 2, 0]))
        [array([2, 0]), array([3])]
    """
    if not len(pool):
        return []
    ordered = pool[np.argsort(labels[pool], kind="stable")]
    return np.split(ordered, np.flatnonzero(np.diff(labels[ordered])) + 1)


def draw_stratified(labels: Indices, pool: Indices, total: int, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Draw `total` of `pool`, each class in proportion.

    Args:
        labels: (N,) of all samples.
        pool: positions to draw from.
        total: how many.
        rng: what to draw with.

    Returns:
        the rest and the drawn, both ascending.
    """
    if total == 0:
        return pool, pool[:0]
    members = group_by_label(labels, pool)
    counts = stratified_counts(np.array([len(group) for group in members]), total)
    drawn = [rng.permutation(group)[:count] for group, count in zip(members, counts, strict=True)]
    taken = np.isin(pool, np.concatenate(drawn))
    return pool[~taken], pool[taken]


def draw_groups(
    groups: Indices, pool: Indices, size: float, what: str, of: str, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Draw whole groups of `pool`: classes, say, or patients.

    Args:
        groups: (N,) group of every sample.
        pool: positions to draw from.
        size: fraction of all groups of `groups` (below 1) or number of groups.
        what: name of the part, for the error.
        of: name of the groups, for the error.
        rng: what to draw with.

    Returns:
        the rest and the drawn, both ascending.
    """
    count = resolve_size(size, len(np.unique(groups)), what, of)
    present = np.unique(groups[pool])
    if count >= len(present):
        raise UserError(
            f"split {what}={size}: only {len(present)} {of} are left and one must remain for training: ask for less"
        )
    drawn = np.isin(groups[pool], rng.permutation(present)[:count])
    return pool[~drawn], pool[drawn]


def deal_folds(keys: Indices, folds: int, rng: np.random.Generator) -> Indices:
    """Deal samples to folds so that each class (key) and the total are spread as evenly as can be.

    scikit-learn's StratifiedKFold would serve as well, but deals other folds than those of the committed results.

    Args:
        keys: (N,) class of every sample.
        folds: number of folds.
        rng: what to draw with.

    Returns:
        (N,) fold of every sample, 0..folds-1.

    Example:
        >>> np.bincount(deal_folds(np.array([0] * 4 + [1] * 6), 5, np.random.default_rng(0)))
        array([2, 2, 2, 2, 2])
    """
    order = np.concatenate([rng.permutation(np.flatnonzero(keys == key)) for key in np.unique(keys)])
    fold = np.empty(len(keys), dtype=np.int64)
    fold[order] = np.arange(len(keys)) % folds  # classes in a row, so one class goes on where the last one stopped
    return fold
