"""The detail behind the means: scores per class, which class is taken for which, the worst queries."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dml.errors import UserError
from dml.evaluation.per_query import QueryScores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_CHUNK = 1 << 22  # votes counted at once


class Confusion(NamedTuple):
    """`shares[i, j]`: how many queries of `classes[i]` the vote gave to `classes[j]`, level votes in equal parts."""

    shares: Floats  # (classes, classes)
    classes: Ints  # (classes,)


def class_scores(table: QueryScores, name: str = "map_at_r") -> dict[int, float]:
    """Return the mean of one score for each class, worst first.

    Raises:
        UserError: There is no such score.

    Example:
        >>> from dml.evaluation import query_scores
        >>> class_scores(query_scores([[0.0], [0.1], [1.0], [1.2]], [7, 7, 9, 9], ks=(1,), knn_ks=(1,)))
        {7: 1.0, 9: 1.0}
    """
    values = _values(table, name)
    classes, codes = np.unique(table.labels, return_inverse=True)
    means = np.bincount(codes, values) / np.bincount(codes)
    return {int(classes[i]): float(means[i]) for i in np.argsort(means, kind="stable")}


def worst_queries(table: QueryScores, count: int = 10, name: str = "map") -> Ints:
    """Return the ids (count,) of the queries with the lowest score, worst first, equal ones by id.

    Raises:
        UserError: There is no such score.
    """
    values = _values(table, name)
    return np.asarray(table.ids[np.lexsort((table.ids, values))[:count]], dtype=np.int64)


def confusion_matrix(neighbor_labels: ArrayLike, labels: ArrayLike) -> Confusion:
    """Return who is taken for whom in a vote of the nearest references.

    Args:
        neighbor_labels: Labels (Q,k) of each query's k nearest references.
        labels: Labels (Q,) of the queries.

    Raises:
        UserError: The counts differ.

    Example:
        >>> confusion_matrix([[0, 0, 1], [0, 1, 1]], [0, 0]).shares
        array([[1., 1.],
               [0., 0.]])
    """
    near, own = np.asarray(neighbor_labels), np.asarray(labels)
    if near.ndim != 2 or own.shape != near.shape[:1]:
        raise UserError(f"{near.shape} neighbours' labels for {own.shape} queries: give one row of neighbours a query")
    classes, codes = np.unique(np.concatenate([own, near.ravel()]), return_inverse=True)
    asked, found = codes[: len(own)], codes[len(own) :].reshape(near.shape)
    shares = np.zeros((len(classes), len(classes)))
    step = max(1, _CHUNK // len(classes))
    for start in range(0, len(own), step):
        some = found[start : start + step]
        votes = np.zeros((len(some), len(classes)))
        np.add.at(votes, (np.arange(len(some))[:, None], some), 1)
        winners = votes == votes.max(axis=1, keepdims=True)
        np.add.at(shares, asked[start : start + step], winners / winners.sum(axis=1, keepdims=True))
    return Confusion(shares, classes)


def _values(table: QueryScores, name: str) -> Floats:
    if name not in table.scores:
        raise UserError(f"no score {name!r}: choose one of {', '.join(table.scores)}")
    return table.scores[name]
