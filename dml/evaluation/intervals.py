"""How certain scores are: intervals and tests with the class as unit, since new data would bring other classes too."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from dml.errors import UserError
from dml.evaluation.per_query import QueryScores

Floats = NDArray[np.float64]
_PRIOR = 0.125  # half an observation of score ½: its variance ½ · ½(1−½)
_PRIOR_LIKENESS = 0.25  # intraclass correlation of the half class; measured ones are mostly .02 to .2
# Variances against those of independent classes: two classes taken for one another lose together.
_SHARED_ERRORS = 1.5
_SHARED_CHANGES = 1.25  # part of that cancels in a difference


class Difference(NamedTuple):
    """Mean of the second minus the first, its interval, and how likely so large a one is by chance."""

    difference: float
    low: float
    high: float
    p_value: float


def class_intervals(table: QueryScores, level: float = 0.95) -> dict[str, tuple[float, float]]:
    """Return an interval for the mean of each score over all classes there are.

    Wilson's score interval: all μ with (x̄ − μ)² ≤ t² d μ(1−μ), t of C degrees of freedom for C classes. d is the
    variance of the mean over x̄(1−x̄): the clustered variance between classes, times 1.5 because classes taken for one
    another lose together, but at least that of independent queries. Few errors say little of how much classes differ,
    so half a class of score ½ and intraclass correlation ¼ is added (and one degree of freedom), and half a query: all
    correct leaves the lower end at 1 / (1 + t² / 4C) or below. Nothing is drawn at random. How often such intervals
    hold was measured: `benchmarks/intervals.py`.

    Args:
        table: Scores of the queries, in [0, 1].
        level: Chance that the interval covers the mean over all classes there are, in (0, 1).

    Raises:
        UserError: Fewer than two classes, a level out of range, or scores outside [0, 1].

    Source: Wilson, "Probable Inference" (1927); the effective number of queries as in Korn and Graubard, "Confidence
    Intervals for Proportions with Small Expected Number of Positive Counts Estimated from Survey Data" (1998); the
    moderated variance as in Smyth, "Linear Models and Empirical Bayes Methods" (2004).

    Example:
        >>> table = QueryScores({"recall_at_1": np.ones(40)}, np.repeat(range(10), 4), np.arange(40), 0)
        >>> low, high = class_intervals(table)["recall_at_1"]
        >>> round(low, 2), high
        (0.89, 1.0)
    """
    codes, sizes = _classes(table, level)
    quantile = t.ppf(0.5 + level / 2, len(sizes))
    intervals = {}
    for name, values in table.scores.items():
        if not (values.min() >= -1e-9 and values.max() <= 1 + 1e-9):
            raise UserError(f"scores {name!r} must lie between 0 and 1 to have an interval")
        mean = min(1.0, max(0.0, _mean(values)))
        intervals[name] = _wilson(mean, quantile**2 * _variance_ratio(values, mean, codes, sizes))
    return intervals


def paired_difference(first: QueryScores, second: QueryScores, name: str, level: float = 0.95) -> Difference:
    """Compare one score of two runs on the same queries, class by class.

    A t-test and its interval: p < 1 − level exactly where 0 lies outside. The variance is clustered by class, times
    1.25 for errors that classes share, with a small part (one of C degrees of freedom) of at least that of independent
    queries, half a query found by one run only among them. The degrees of freedom are those of (Σn)² / Σn² equally
    large classes, for classes of n queries, less one. Sign flips of C classes would know no p-value below 2 / 2^C,
    hence no 95 % interval of five classes; this one has no least p-value.

    Args:
        first: Scores of the first run.
        second: Scores of the second run, of the same queries.
        name: Which score, in [0, 1].
        level: Of the interval, in (0, 1).

    Raises:
        UserError: The runs scored different queries, there is no such score, or fewer than two classes.

    Source: Bell and McCaffrey, "Bias Reduction in Standard Errors for Linear Regression with Multi-Stage Samples"
    (2002); Carter, Schnepel and Steigerwald, "Asymptotic Behavior of a t-Test Robust to Cluster Heterogeneity" (2017).

    Example:
        >>> labels, ids = np.repeat(range(10), 4), np.arange(40)
        >>> worse = QueryScores({"mrr": np.linspace(0.4, 0.8, 40)}, labels, ids, 0)
        >>> better = QueryScores({"mrr": np.linspace(0.5, 0.8, 40)}, labels, ids, 0)
        >>> found = paired_difference(worse, better, "mrr")
        >>> round(found.difference, 3), found.low > 0, found.p_value < 0.05
        (0.05, True, True)
    """
    codes, sizes = _classes(first, level)
    one, two = aligned_scores(first, second, name)
    change = two - one
    mean, count, num_classes = _mean(change), len(change), len(sizes)
    between = _SHARED_CHANGES * _clustered_variance(change, mean, codes, sizes)
    within = (((change - mean) ** 2).sum() + 0.5) / count**2
    error = math.sqrt(((num_classes - 1) * between + max(between, within)) / num_classes)
    freedom = max(1.0, _effective_classes(sizes) - 1)
    reach = error * t.ppf(0.5 + level / 2, freedom)
    p_value = 2 * t.sf(abs(mean) / error, freedom)
    return Difference(mean, max(-1.0, float(mean - reach)), min(1.0, float(mean + reach)), float(p_value))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values corrected for their number: the chance of one false alarm among all stays below the level.

    Sorted, the i-th of m (from 0 on) becomes (m − i) p, at least as large as those before it, at most 1.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (1979).

    Example:
        >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
        {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    corrected, largest = {}, 0.0
    for i, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - i) * p_values[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def _classes(table: QueryScores, level: float) -> tuple[NDArray[np.int64], Floats]:
    """Return each query's class as a number from 0 on, and the classes' sizes."""
    if not 0 < level < 1:
        raise UserError(f"level {level} of an interval must lie between 0 and 1")
    codes, sizes = np.unique(table.labels, return_inverse=True, return_counts=True)[1:]
    if len(sizes) < 2:
        raise UserError("an interval needs queries of at least two classes")
    return codes, sizes.astype(np.float64)


def _mean(values: Floats) -> float:
    return math.fsum(values.tolist()) / len(values)  # as `mean_scores` has it


def _effective_classes(sizes: Floats) -> float:
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def _clustered_variance(values: Floats, mean: float, codes: NDArray[np.int64], sizes: Floats) -> float:
    """Return the variance of the mean of all queries between draws of the classes, unbiased where these are alike."""
    shares = sizes / sizes.sum()
    residuals = np.bincount(codes, values - mean) / sizes.sum()
    return float((residuals**2 / ((1 - shares) ** 2 + (shares**2).sum() - shares**2)).sum())


def _variance_ratio(values: Floats, mean: float, codes: NDArray[np.int64], sizes: Floats) -> float:
    """Return the variance of the mean over that of a single query right or wrong, mean (1 − mean)."""
    single, count, classes = mean * (1 - mean), len(values), _effective_classes(sizes)
    of_queries = (((values - mean) ** 2).sum() + _PRIOR) / (count * single + _PRIOR) / count
    variance = max(_SHARED_ERRORS * _clustered_variance(values, mean, codes, sizes), of_queries * single)
    of_classes = (classes * variance + _PRIOR * _PRIOR_LIKENESS / classes) / (classes * single + _PRIOR)
    return float(max(of_classes, of_queries))


def _wilson(mean: float, ratio: float) -> tuple[float, float]:
    """Return the ends of all μ with (mean − μ)² ≤ ratio μ(1−μ)."""
    centre, half = mean + ratio / 2, math.sqrt(ratio * (mean * (1 - mean) + ratio / 4))
    low, high = (centre - half) / (1 + ratio), (centre + half) / (1 + ratio)
    return float(min(mean, max(0.0, low))), float(max(mean, min(1.0, high)))


def aligned_scores(first: QueryScores, second: QueryScores, name: str) -> tuple[Floats, Floats]:
    """Return one score of two runs (Q,), each in the order of the first run's queries.

    Raises:
        UserError: The runs scored different queries, or there is no such score in both.
    """
    if first.images and second.images and first.images != second.images:
        raise UserError("the runs scored different images: compare runs on the same data, split and seed")
    for table in (first, second):
        if name not in table.scores:
            raise UserError(f"no score {name!r} in both runs: choose one of {', '.join(table.scores)}")
    order = np.argsort(second.ids)
    at = np.searchsorted(second.ids, first.ids, sorter=order).clip(max=len(order) - 1)
    same = len(first.ids) == len(second.ids) and (second.ids[order[at]] == first.ids).all()
    if not same or (second.labels[order[at]] != first.labels).any():
        raise UserError("the runs scored different queries: compare runs on the same data, split and seed")
    return first.scores[name], second.scores[name][order[at]]
