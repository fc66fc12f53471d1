"""How sure scores are: intervals and tests that resample whole classes; new data would bring other classes too."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from dml.errors import UserError
from dml.evaluation.retrieval import QueryScores

Floats = NDArray[np.float64]


class Difference(NamedTuple):
    """Mean of the second minus the first, its interval, and how likely so large a one is by chance."""

    difference: float
    low: float
    high: float
    p_value: float


def class_intervals(
    table: QueryScores, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return an interval for the mean of each score by a bootstrap of whole classes.

    Percentile intervals are too narrow with few classes: their distances from the mean are stretched by
    t(C−1)/z · √(C/(C−1)) for C classes.

    Args:
        table: Scores of the queries.
        level: Chance that the interval covers the mean over all classes there are, in (0, 1).
        resamples: Number of bootstrap samples.
        seed: Draws them.

    Raises:
        UserError: Fewer than two classes, or a level out of range.

    Source: Hesterberg, "What Teachers Should Know About the Bootstrap" (2015), on expanded percentiles.
    """
    codes, count = _classes(table, level)
    weights = _resampled(count, resamples, seed)
    sizes = weights @ np.bincount(codes)
    intervals = {}
    for name, values in table.scores.items():
        low, high = _expanded(values.mean(), weights @ np.bincount(codes, values) / sizes, count, level)
        intervals[name] = (max(0.0, low), min(1.0, high))
    return intervals


def paired_difference(
    first: QueryScores, second: QueryScores, name: str, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Difference:
    """Compare one score of two runs on the same queries, class by class.

    The interval is a bootstrap of whole classes as in `class_intervals`; the p-value flips the sign of each class's
    summed difference at random, which changes nothing where the runs are equally good.

    Args:
        first: Scores of the first run.
        second: Scores of the second run, of the same queries.
        name: Which score.
        level: Of the interval, in (0, 1).
        resamples: Number of bootstrap samples, and of random flips.
        seed: Draws them.

    Raises:
        UserError: The runs scored different queries, there is no such score, or fewer than two classes.
    """
    codes, count = _classes(first, level)
    one, two = _aligned(first, second, name)
    sums, sizes = np.bincount(codes, two - one), np.bincount(codes)
    mean = math.fsum((two - one).tolist()) / len(one)
    weights = _resampled(count, resamples, seed)
    low, high = _expanded(mean, weights @ sums / (weights @ sizes), count, level)
    flips = np.random.default_rng((seed, 1)).choice([-1.0, 1.0], (resamples, count)) @ sums / len(one)
    extreme = np.count_nonzero(np.abs(flips) >= abs(mean) * (1 - 1e-12))
    return Difference(mean, low, high, (extreme + 1) / (resamples + 1))


def _classes(table: QueryScores, level: float) -> tuple[NDArray[np.int64], int]:
    if not 0 < level < 1:
        raise UserError(f"level {level} of an interval must lie between 0 and 1")
    classes, codes = np.unique(table.labels, return_inverse=True)
    if len(classes) < 2:
        raise UserError("an interval needs queries of at least two classes")
    return codes, len(classes)


def _resampled(count: int, resamples: int, seed: int) -> Floats:
    """Return how often each class is drawn (resamples,count)."""
    draws = np.random.default_rng(seed).integers(0, count, (resamples, count))
    flat = draws + count * np.arange(resamples)[:, None]
    return np.bincount(flat.ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float64)


def _expanded(mean: float, means: Floats, count: int, level: float) -> tuple[float, float]:
    stretch = t.ppf(0.5 + level / 2, count - 1) / norm.ppf(0.5 + level / 2) * math.sqrt(count / (count - 1))
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return float(mean + stretch * (low - mean)), float(mean + stretch * (high - mean))


def _aligned(first: QueryScores, second: QueryScores, name: str) -> tuple[Floats, Floats]:
    for table in (first, second):
        if name not in table.scores:
            raise UserError(f"no score {name!r} in both runs: choose one of {', '.join(table.scores)}")
    order = np.argsort(second.ids)
    at = np.searchsorted(second.ids, first.ids, sorter=order).clip(max=len(order) - 1)
    same = len(first.ids) == len(second.ids) and (second.ids[order[at]] == first.ids).all()
    if not same or (second.labels[order[at]] != first.labels).any():
        raise UserError("the runs scored different queries: compare runs on the same data, split and seed")
    return first.scores[name], second.scores[name][order[at]]
