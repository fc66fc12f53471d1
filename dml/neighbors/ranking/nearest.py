"""Keeps the nearest references of each query, and all tied with the last of them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dml.neighbors.ranking.layout import Ints

Distances = NDArray[np.float32]


class Candidates(NamedTuple):
    """References not farther than the K-th nearest of their query: flat arrays ordered by query.

    `weight` references of class `code` lie at exactly `distance` from query `row`; `border` (B,K) holds each query's K
    smallest distances, ascending.
    """

    row: Ints
    distance: Distances
    code: Ints
    weight: Ints
    border: Distances


class Nearest:
    """Collects the K nearest of B queries from exact distances that arrive in parts.

    Args:
        rows: Number of queries B.
        neighbors: How many nearest K.
    """

    def __init__(self, rows: int, neighbors: int) -> None:
        self.border = np.full((rows, neighbors), np.inf, dtype=np.float32)
        self._kept: Candidates | None = None

    def add(self, row: Ints, distance: Distances, code: Ints) -> None:
        """Take in exact distances (n,) of queries `row` to references of class `code`; equal ones become one entry."""
        weight = np.ones(len(row), dtype=np.int64)
        if self._kept is not None:
            old = self._kept
            row, distance = np.concatenate([old.row, row]), np.concatenate([old.distance, distance])
            code, weight = np.concatenate([old.code, code]), np.concatenate([old.weight, weight])
        order = np.lexsort((code, distance, row))
        row, distance, code, weight = row[order], distance[order], code[order], weight[order]
        new = np.ones(len(row), dtype=np.bool_)
        new[1:] = (row[1:] != row[:-1]) | (distance[1:] != distance[:-1]) | (code[1:] != code[:-1])
        at = np.flatnonzero(new)
        row, distance, code, weight = row[at], distance[at], code[at], np.add.reduceat(weight, at)
        self.border = _smallest(row, distance, weight, self.border.shape)
        keep = distance <= self.border[row, -1]
        self._kept = Candidates(row[keep], distance[keep], code[keep], weight[keep], self.border)

    def result(self) -> Candidates:
        """Return the candidates of every query."""
        assert self._kept is not None
        return self._kept


def _smallest(row: Ints, distance: Distances, weight: Ints, shape: tuple[int, int]) -> Distances:
    """Return the K smallest distances (B,K) of each row from entries in order, infinity where there are fewer."""
    end = np.cumsum(weight)
    first = np.searchsorted(row, np.arange(shape[0]))
    before = np.concatenate([[0], end])[first]  # weight of all rows above
    wanted = before[:, None] + np.arange(1, shape[1] + 1)
    at = np.searchsorted(end, wanted.ravel()).reshape(shape)
    inside = at < np.append(first[1:], len(row))[:, None]
    result = np.full(shape, np.inf, dtype=np.float32)
    result[inside] = distance[at[inside]]
    return result
