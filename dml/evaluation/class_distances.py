"""Streamed distances between classes: which match within a distance, and the nearest image of another class."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dml.errors import UserError
from dml.evaluation.class_rates import ClassRates
from dml.neighbors.exact import squared_distances
from dml.neighbors.ranking import RankingTask, make_tiling

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]


class NearestOfClasses(NamedTuple):
    """For each query, squared distances (Q,) to the nearest reference of its class and of the two nearest others.

    Infinity where there is none.
    """

    own: Singles
    first: Singles  # of the nearest other class
    second: Singles  # of the second nearest other class
    labels: Ints  # of the queries
    classes: Ints  # the query's class, numbered from 0
    first_class: Ints
    num_classes: int

    def take(self, queries: NDArray[np.bool_]) -> "NearestOfClasses":
        """Return what a mask (Q,) keeps of the queries; the references stay."""
        distances = self.own[queries], self.first[queries], self.second[queries]
        classes = self.labels[queries], self.classes[queries], self.first_class[queries]
        return NearestOfClasses(*distances, *classes, self.num_classes)

    def search_rates(self, thresholds: Singles) -> ClassRates:
        """Return how often a search for a class that the references lack finds a match within squared distances (T,).

        Every query stands for one, searching without its own class.

        Example:
            >>> distances, classes = np.float32([[1, 1], [2, 3], [9, 9]]), np.array([[7, 8], [0, 1], [1, 0]])
            >>> near = NearestOfClasses(*distances, *classes, 2)
            >>> near.search_rates(np.float32([2, 4])).rate
            array([0.5, 1. ])
        """
        within_first, within_second = (np.searchsorted(thresholds, values) for values in (self.first, self.second))
        steps = len(thresholds) + 1
        lost = _tally(self.classes, within_first, self.num_classes, steps)
        lost += _tally(self.first_class, within_first, self.num_classes, steps)
        lost -= _tally(self.first_class, within_second, self.num_classes, steps)
        events = np.bincount(within_first, minlength=steps).cumsum()[:-1].astype(np.float64)
        counts = np.bincount(self.classes, minlength=self.num_classes).astype(np.float64)
        there = counts > 0
        return ClassRates(events, float(len(self.classes)), lost[there].cumsum(axis=1)[:, :-1], counts[there])


class Streamed(NamedTuple):
    """What one pass over all pairs tells of T squared distances, and the nearest of classes."""

    pairs: ClassRates  # pairs of different classes within each
    true_match_rates: NDArray[np.float64]  # (T,): the share of pairs of one class within each
    nearest: NearestOfClasses


def stream_distances(task: RankingTask, thresholds: Singles, max_memory: str | int = "2GiB") -> Streamed:
    """Return how many pairs match within squared distances (T,), and the nearest of classes.

    Queries without another member of their class are left out, as everywhere.

    Args:
        task: Queries and references, in the metric's space.
        thresholds: Squared distances, ascending.
        max_memory: For the distances, beyond the embeddings.

    Raises:
        UserError: All samples are of one class.

    Example:
        >>> from dml.embeddings import EmbeddingSet
        >>> pairs = EmbeddingSet([[0.0], [0.1], [1.0], [1.2]], [0, 0, 1, 1])
        >>> found = stream_distances(RankingTask(pairs, pairs), np.float32([0.9, 2.0]))
        >>> found.pairs.rate, found.nearest.first.round(2)
        (array([0.25, 1.  ]), array([1.  , 0.81, 0.81, 1.21], dtype=float32))
    """
    layout, steps = task.layout, len(thresholds) + 1
    classes = len(layout.starts) - 1
    if classes < 2:
        raise UserError("all samples are of one class: a false match needs pairs of different classes")
    matches, same = np.zeros((classes, steps)), np.zeros(steps, dtype=np.int64)
    scored = np.flatnonzero(layout.positives > 0)
    place = np.full(len(layout.query_order), -1)
    place[scored] = np.arange(len(scored))
    own = np.full(len(scored), np.inf, dtype=np.float32)
    others, named = np.full((len(scored), 2), np.inf, dtype=np.float32), np.full((len(scored), 2), -1)
    for block in make_tiling(task, max_memory).blocks:
        rows = place[block.low : block.high]
        query, mine = task.queries(block.low, block.high, np.float64), layout.query_class[block.low : block.high]
        for start in range(0, len(layout.reference_order), block.columns):
            stop = min(start + block.columns, len(layout.reference_order))
            tile = np.array(squared_distances(query, task.references(start, stop, np.float64)))
            theirs = layout.reference_class[start:stop]
            tile[layout.self_at[block.low : block.high, None] == np.arange(start, stop)] = np.inf
            alike = tile[mine[:, None] == theirs]
            same += np.bincount(np.searchsorted(thresholds, alike[np.isfinite(alike)]), minlength=steps)
            begins = np.flatnonzero(np.diff(theirs, prepend=-1))
            minima, among = np.minimum.reduceat(tile, begins, axis=1), theirs[begins]
            is_own = mine[:, None] == among
            own[rows] = np.minimum(own[rows], np.where(is_own, minima, np.inf).min(axis=1))
            minima[is_own] = np.inf
            others[rows], named[rows] = _two_nearest(others[rows], named[rows], minima, among)
            i, j = np.nonzero((tile <= thresholds[-1]) & (mine[:, None] != theirs))
            within = np.searchsorted(thresholds, tile[i, j])
            np.add.at(matches, (mine[i], within), 1)
            np.add.at(matches, (theirs[j], within), 1)
    asked = np.bincount(layout.query_class[scored], minlength=classes)
    held = np.bincount(layout.reference_class, minlength=classes)
    pairs = (asked * (len(layout.reference_order) - held) + held * (len(scored) - asked)).astype(np.float64)
    there = pairs > 0
    if not there.any():
        raise UserError("no query has a reference of another class: a false match needs pairs of different classes")
    matches = matches[there].cumsum(axis=1)[:, :-1]
    rates = ClassRates(matches.sum(axis=0) / 2, pairs.sum() / 2, matches, pairs[there])
    labels = task.query.labels[layout.query_order[scored]]
    near = NearestOfClasses(own, others[:, 0], others[:, 1], labels, layout.query_class[scored], named[:, 0], classes)
    return Streamed(rates, same.cumsum()[:-1] / same.sum(), near)


def _two_nearest(known: Singles, named: Ints, minima: Singles, among: Ints) -> tuple[Singles, Ints]:
    """Return the two nearest classes and their distances (q,2) among known ones (q,2) and new ones (q,k)."""
    values = np.concatenate([known, minima], axis=1)
    classes = np.concatenate([named, np.broadcast_to(among, minima.shape)], axis=1)
    rows = np.arange(len(values))
    first = values.argmin(axis=1)
    nearest, best = values[rows, first], classes[rows, first]
    values[classes == best[:, None]] = np.inf  # a class that goes on in the next tile comes twice
    second = values.argmin(axis=1)
    return np.stack([nearest, values[rows, second]], axis=1), np.stack([best, classes[rows, second]], axis=1)


def _tally(classes: Ints, steps: Ints, num_classes: int, num_steps: int) -> NDArray[np.float64]:
    """Return how often each class (n,) stands at each step (n,), (classes, steps)."""
    flat = np.bincount(classes * num_steps + steps, minlength=num_classes * num_steps)
    return flat.reshape(num_classes, num_steps).astype(np.float64)
