"""The distance up to which two images count as one class, with a bound on how often that is wrong for new classes."""

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from dml.embeddings import EmbeddingSet
from dml.errors import UserError
from dml.evaluation.class_distances import Singles, stream_distances
from dml.evaluation.class_rates import ClassRates, least_rate, rate_bounds
from dml.evaluation.verification import largest_in_bins, pair_histograms
from dml.neighbors.ranking import RankingTask
from dml.ranges import check_number

Of = Literal["pairs", "searches"]
# Variance of the rate of new classes' pairs against that of these: its tail is on the upper side. With 1, raw pixels of
# characters held in 94.5 % of the splits; see benchmarks/results/calibration.md
_PAIRS_TAIL = 5 / 3
_STEPS = 256  # distances that are tried
_FOLDS = 5  # of classes, each measured by what the others promise


class Calibration(NamedTuple):
    """A distance and what it promises."""

    threshold: float  # two images this far apart or nearer count as of one class; as `NeighborIndex` gives distances
    of: Of
    rate: float  # promised
    confidence: float
    new_classes: float
    own_rate: float  # of the classes that chose the distance: below what is promised
    num_classes: int
    num_queries: int
    num_references: int


class Measured(NamedTuple):
    """What a distance does on some classes."""

    pairs: ClassRates  # T = 1: pairs of different classes within it
    searches: ClassRates  # T = 1: queries without their class among the references that have a reference within it
    true_match_rate: float  # share of the pairs of one class within it
    known_answered: float  # share of queries, their class among the references, that have a reference within it
    auroc: float  # chance that the nearest reference is nearer to a query of a known class than to one of an unknown


def calibrate(
    query: EmbeddingSet,
    reference: EmbeddingSet,
    rate: float = 1e-3,
    confidence: float = 0.95,
    of: Of = "pairs",
    new_classes: float | None = None,
    metric: str = "l2",
    max_memory: str | int = "2GiB",
) -> Calibration:
    """Return the largest distance whose false-match rate on new classes stays within `rate`, with a confidence.

    Of `pairs`, the rate is the false-match rate of verification: the share of all pairs of images of different classes
    that lie within the distance. Of `searches`, it is the false-positive identification rate: the share of queries of
    classes that the references lack whose nearest reference lies within it; that one grows with the references.

    Classes are the units: with chance `confidence`, as many as `new_classes` others, drawn as these were, show at most
    `rate`. Distances are tried from the smallest on until the upper bound of `rate_bounds` exceeds the rate, so that
    none of them adds to the chance of a mistake. No bound knows of classes that are unlike all that were seen (one
    that matches everything, among thousands); so the rate must be one that this many pairs of classes (or classes),
    none of which matched, could exclude: at least `least_rate` of their number.

    Args:
        query: The queries.
        reference: What they search; the same object for leave-one-out.
        rate: To be promised, in (0, 1).
        confidence: In (0, 1).
        of: `pairs` or `searches`.
        new_classes: For how many new classes the rate is to hold, taken together; None: as many as there are here;
            infinity: for all there are.
        metric: `l2` or `cosine`.
        max_memory: For the distances, beyond the embeddings.

    Raises:
        UserError: Too few classes for such a promise, or an argument out of range.

    Source: Angelopoulos et al., "Learn then Test: Calibrating Predictive Algorithms to Achieve Risk Control" (2021),
    for the sequence of tests; ISO/IEC 19795-1 for the rates.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat(range(60), 4)
        >>> rows = EmbeddingSet(rng.normal(size=(60, 8))[labels] + 0.1 * rng.normal(size=(240, 8)), labels)
        >>> found = calibrate(rows, rows, rate=0.01)
        >>> 0.5 < found.threshold < 2, found.own_rate < 0.01
        (True, True)
    """
    for name, value in (("rate", rate), ("confidence", confidence)):
        check_number(name, value, above=0, below=1)
    task = _prepared(query, reference, metric)
    rates, thresholds = _rates_of(task, rate, of, max_memory)
    count = len(rates.lost)
    _check_enough(rates, rate, confidence, of)
    wanted = float(count) if new_classes is None else new_classes
    if not wanted > 0:
        raise UserError(f"new_classes={wanted}: give a number above 0")
    tail = _PAIRS_TAIL if of == "pairs" else 1.0
    bounds = rate_bounds(rates, confidence, wanted / tail)[1]
    place = len(bounds) if (bounds <= rate).all() else int((bounds > rate).argmax())
    if place == 0:
        told = f"{count} classes can promise a rate of {_rounded_up(float(bounds[0]))} of {of} at best, not {rate:g}"
        raise UserError(f"{told}: promise more, or calibrate on more classes")
    return Calibration(
        threshold=_distance(float(thresholds[place - 1]), metric),
        of=of,
        rate=rate,
        confidence=confidence,
        new_classes=wanted,
        own_rate=float(rates.rate[place - 1]),
        num_classes=count,
        num_queries=len(query),
        num_references=len(reference),
    )


def measure(
    query: EmbeddingSet,
    reference: EmbeddingSet,
    threshold: float,
    metric: str = "l2",
    max_memory: str | int = "2GiB",
) -> Measured:
    """Return what a distance does on these classes; see `calibrate` for the rates.

    Args:
        query: The queries.
        reference: What they search; the same object for leave-one-out.
        threshold: The distance, ≥ 0, as `NeighborIndex` of this metric gives it.
        metric: `l2` or `cosine`.
        max_memory: For the distances, beyond the embeddings.

    Raises:
        UserError: No pair of different classes.

    Example:
        >>> rows = EmbeddingSet([[0.0], [0.1], [1.0], [1.2]], [0, 0, 1, 1])
        >>> found = measure(rows, rows, threshold=0.95)
        >>> found.pairs.rate, found.searches.rate, found.true_match_rate, found.known_answered, found.auroc
        (array([0.25]), array([0.5]), 1.0, 1.0, 1.0)
    """
    task = _prepared(query, reference, metric)
    limit = np.array([_squared(threshold, metric)], dtype=np.float32)
    pairs, true_matches, near = stream_distances(task, limit, max_memory)
    known = np.minimum(near.own, near.first)
    return Measured(
        pairs=pairs,
        searches=near.search_rates(limit),
        true_match_rate=float(true_matches[0]),
        known_answered=float(np.mean(known <= limit[0])),
        auroc=_auroc(known, near.first),
    )


def measure_unseen(
    query: EmbeddingSet,
    reference: EmbeddingSet,
    promised: Calibration,
    metric: str = "l2",
    max_memory: str | int = "2GiB",
) -> ClassRates:
    """Return the rate on classes that did not choose the distance: each fifth by what the others promise.

    Of `searches`, that fifth searches all other classes.

    Args:
        query: The queries that were calibrated on.
        reference: What they search.
        promised: What they promise.
        metric: `l2` or `cosine`.
        max_memory: For the distances, beyond the embeddings.

    Raises:
        UserError: Too few classes to hold a fifth back.
    """
    classes = np.random.default_rng(0).permutation(np.union1d(query.labels, reference.labels))
    near = stream_distances(_prepared(query, reference, metric), np.zeros(1, dtype=np.float32), max_memory).nearest
    found: ClassRates | None = None
    for fold in np.array_split(classes, _FOLDS):
        others = _without(query, reference, fold)
        there = calibrate(*others, promised.rate, promised.confidence, promised.of, None, metric, max_memory)
        if promised.of == "searches":
            limit = np.array([_squared(there.threshold, metric)], dtype=np.float32)
            rates = near.take(np.isin(near.labels, fold)).search_rates(limit)
        else:
            held_back = _without(query, reference, np.setdiff1d(classes, fold))
            rates = measure(*held_back, there.threshold, metric, max_memory).pairs
        found = rates if found is None else found.joined(rates)
    assert found is not None
    return found


def _without(
    query: EmbeddingSet, reference: EmbeddingSet, classes: NDArray[np.int64]
) -> tuple[EmbeddingSet, EmbeddingSet]:
    kept = query.take(~np.isin(query.labels, classes))
    return kept, kept if reference is query else reference.take(~np.isin(reference.labels, classes))


def _check_enough(rates: ClassRates, rate: float, confidence: float, of: Of) -> None:
    """Refuse a rate so small that classes without any match could not promise it."""
    here = rates.num_classes
    if least_rate(_units(here, of), confidence) <= rate:
        return
    needed = math.log1p(-confidence) / math.log1p(-rate)
    needed = math.ceil(needed if of == "searches" else (1 + math.sqrt(1 + 8 * needed)) / 2)
    possible = least_rate(_units(here, of), confidence)
    raise UserError(
        f"a rate of {rate:g} with confidence {confidence:g} needs at least {needed} classes, and these count as "
        f"{here:.0f}: promise {_rounded_up(possible)} or more, or calibrate on more classes"
    )


def _units(num_classes: float, of: Of) -> float:
    return max(1.0, num_classes * (num_classes - 1) / 2 if of == "pairs" else num_classes)


def _rounded_up(rate: float) -> str:
    """Return a rate with two digits that is not below it."""
    step = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return f"{math.ceil(rate / step) * step:.2g}"


def _distance(squared: float, metric: str) -> float:
    """Return a squared Euclidean distance, for `cosine` of rows of length one, as a distance of the metric."""
    return squared / 2 if metric == "cosine" else math.sqrt(squared)


def _squared(distance: float, metric: str) -> float:
    return 2 * distance if metric == "cosine" else distance**2


def _prepared(query: EmbeddingSet, reference: EmbeddingSet, metric: str) -> RankingTask:
    queries = query.in_metric(metric)
    return RankingTask(queries, queries if reference is query else reference.in_metric(metric))


def _rates_of(task: RankingTask, rate: float, of: Of, max_memory: str | int) -> tuple[ClassRates, Singles]:
    """Return the rates at squared distances (T,), ascending, up to the one that would do for these very classes."""
    different = pair_histograms(task, max_memory)[1].cumsum()
    counts = np.unique(np.geomspace(1, max(2.0, rate * different[-1]), _STEPS).astype(np.int64))
    bins = np.unique(np.searchsorted(different, counts))
    thresholds = largest_in_bins(bins)
    found = stream_distances(task, thresholds, max_memory)
    if of == "pairs":
        return found.pairs, thresholds
    first = np.sort(found.nearest.first)
    places = np.linspace(0, max(1.0, rate * len(first)), _STEPS).astype(np.int64).clip(max=len(first) - 1)
    thresholds = np.unique(first[places])
    return found.nearest.search_rates(thresholds), thresholds


def _auroc(known: Singles, unknown: Singles) -> float:
    """Return the chance that a known query's distance is smaller than an unknown one's, equal ones counting a half."""
    ranks = rankdata(np.concatenate([unknown, known]).astype(np.float64))[: len(unknown)]
    return float((ranks.sum() / len(unknown) - (len(unknown) + 1) / 2) / len(known))
