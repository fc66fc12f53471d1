"""Recall@1 of embeddings query by query, with only NumPy and the exact index, so that it needs no torch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dml.embeddings import unit_rows
from dml.neighbors.index import NeighborIndex

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def nearest_hits(
    queries: NDArray[np.float32],
    labels: Ints,
    own: Ints,
    references: NDArray[np.float32],
    reference_labels: Ints,
    metric: str,
) -> Floats:
    """Return whether the nearest reference of each query is of its class (Q,): 1, 0, or the share among equally near.

    NaN stands for a lone query: the references hold no other member of its class.

    Args:
        queries: (Q,D).
        labels: (Q,).
        own: (Q,) the position of each query among the references, which it does not find; −1: it is not there.
        references: (R,D), R at least 2.
        reference_labels: (R,).
        metric: `l2` or `cosine`.

    Example:
        >>> rows = np.array([[0.0], [1.0], [5.0]], np.float32)
        >>> nearest_hits(rows[:2], np.array([7, 8]), np.array([0, -1]), rows, np.array([7, 8, 7]), "l2")
        array([0., 1.])
    """
    index = NeighborIndex(metric).add(references)
    hits = np.full(len(queries), np.nan)
    members = np.array([np.count_nonzero(reference_labels == label) for label in labels.tolist()], np.int64)
    at_home = (own >= 0) & (reference_labels[own] == labels)
    todo, k = np.flatnonzero(members - at_home > 0), min(3, len(references))
    while len(todo):
        distances, found = index.search(queries[todo], k)
        distances[found == own[todo, None]] = np.inf
        nearest = distances.min(axis=1)
        settled = (distances[:, -1] > nearest) & np.isfinite(distances[:, -1]) | (k == len(references))
        tied = (distances == nearest[:, None])[settled]
        alike = reference_labels[found[settled]] == labels[todo[settled], None]
        hits[todo[settled]] = (tied & alike).sum(axis=1) / tied.sum(axis=1)
        todo, k = todo[~settled], min(4 * k, len(references))
    return hits


def recall_at_1(hits: Floats) -> float:
    """Return the mean over the queries that are not lone; NaN where all are."""
    return float(np.nanmean(hits)) if np.isfinite(hits).any() else float("nan")


def undecided(
    query: NDArray[np.float32],
    label: int,
    own: int,
    references: NDArray[np.float32],
    reference_labels: Ints,
    metric: str,
    error: float,
) -> bool:
    """Tell whether a query's nearest references of its own and of other classes are equally far, up to rounding.

    Where every embedding may be off by `error`, a distance may be by twice as much, and two by four times.

    Args:
        query: (D,).
        label: Its class.
        own: Its position among the references, −1 where it is not there.
        references: (R,D).
        reference_labels: (R,).
        metric: `l2` or `cosine`.
        error: How far embeddings (of length one under `cosine`) may be off.

    Example:
        >>> rows = np.array([[0.0], [2.0]], np.float32)
        >>> [undecided(np.array([x], np.float32), 0, -1, rows, np.array([0, 1]), "l2", 1e-6) for x in (1.0, 0.9)]
        [True, False]
    """
    rows: NDArray[Any] = references.astype(np.float64)
    one: NDArray[Any] = query[None].astype(np.float64)
    if metric == "cosine":
        rows, one = unit_rows(rows), unit_rows(one)
    distances = np.sqrt(np.square(rows - one).sum(axis=1))
    others = np.arange(len(rows)) != own
    alike = reference_labels == label
    gap = abs(distances[alike & others].min(initial=np.inf) - distances[~alike & others].min(initial=np.inf))
    return bool(gap <= 4 * error)
