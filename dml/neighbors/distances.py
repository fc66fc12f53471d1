"""The four metrics: their exact order, and how far a float32 search may be off."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from dml.errors import UserError
from dml.neighbors.exact import Rows, choose_center, paired, prepare_query, prepare_reference, squared_distances

MetricName = Literal["l1", "l2", "linf", "cosine"]
Keys = NDArray[np.float32]
ExactKeys = NDArray[np.float64]
_CHUNK = 1 << 20


class Metric(NamedTuple):
    """How one metric is ordered: `paired` gives exact keys of row pairs, `table` those of all pairs in float32.

    Neighbours are ordered by keys; `distance` turns keys into distances.
    """

    name: MetricName
    paired: Callable[[Rows, Rows], ExactKeys]
    table: Callable[[Rows, Rows], Keys]
    distance: Callable[[ExactKeys], ExactKeys]


def get_metric(name: str) -> Metric:
    """Return the metric of that name.

    Raises:
        UserError: There is no such metric.

    Example:
        >>> get_metric("l1").paired(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]))
        array([7.])
    """
    if name not in _METRICS:
        raise UserError(f"unknown metric {name!r}: choose one of {', '.join(get_args(MetricName))}")
    return _METRICS[name]


def error_bound(name: MetricName, query: Rows, reference_size: float, keys: Keys) -> NDArray[np.float64]:
    """Return how far (Q,) a float32 search may be off its keys.

    Args:
        name: The metric.
        query: Queries (Q,D), as searched.
        reference_size: The largest norm (of this metric) among the references.
        keys: The largest key of each query that matters, (Q,).
    """
    unit, dim = 2.0**-24, query.shape[1]
    size = row_sizes(name, query) + reference_size
    if name in ("l2", "cosine"):
        return np.asarray((dim + 16) * unit * np.square(size))
    rounds = dim + 16 if name == "l1" else 4
    return np.asarray(rounds * unit * keys.astype(np.float64) + 4 * unit * size)


def row_sizes(name: MetricName, rows: Rows) -> NDArray[np.float64]:
    """Return the norm (n,) of each row that belongs to the metric."""
    if name == "l1":
        return np.asarray(np.abs(rows).sum(axis=1, dtype=np.float64))
    if name == "linf":
        return np.asarray(np.abs(rows).max(axis=1), dtype=np.float64)
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64)))


def _gap(left: Rows, right: Rows) -> ExactKeys:
    difference = left.astype(np.float64)
    difference -= right
    return np.abs(difference, out=difference)


def _paired_l1(left: Rows, right: Rows) -> ExactKeys:
    return np.asarray(_gap(left, right).sum(axis=1))


def _paired_linf(left: Rows, right: Rows) -> ExactKeys:
    return np.asarray(_gap(left, right).max(axis=1))


def _table_l2(query: Rows, reference: Rows) -> Keys:
    center = choose_center(query, reference)
    return squared_distances(prepare_query(query, center), prepare_reference(reference, center))


def _table(measure: Callable[[Rows, Rows], ExactKeys], query: Rows, reference: Rows) -> Keys:
    keys = np.empty((len(query), len(reference)), dtype=np.float32)
    step = max(1, _CHUNK // reference.shape[1])
    for start in range(0, len(reference), step):
        part = reference[start : start + step]
        for row, one in zip(keys, query, strict=True):
            row[start : start + step] = measure(np.broadcast_to(one, part.shape), part)
    return keys


def _same(keys: ExactKeys) -> ExactKeys:
    return keys


def _half(keys: ExactKeys) -> ExactKeys:
    return keys / 2  # of normalised rows: |q − r|² = 2 − 2·cos


_METRICS: dict[str, Metric] = {
    "l1": Metric("l1", _paired_l1, partial(_table, _paired_l1), _same),
    "l2": Metric("l2", paired, _table_l2, np.sqrt),
    "linf": Metric("linf", _paired_linf, partial(_table, _paired_linf), _same),
    "cosine": Metric("cosine", paired, _table_l2, _half),
}
