"""Keeps, tile by tile, the nearest references of each query and all tied with the last of them; it scores nothing."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dml.evaluation.problem import Ints
from dml.neighbors.exact import Operand, paired_at

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
    """Collects the K nearest of B queries from tiles of distances that are off by at most `error`.

    Args:
        rows: Number of queries B.
        neighbors: How many nearest K.
        error: How far the tiles' distances may be off, (B,); zero for exact ones.
    """

    def __init__(self, rows: int, neighbors: int, error: NDArray[np.float64]) -> None:
        self.exact = not error.any()
        self.error = (2 * error).astype(np.float32) * np.float32(1.0001)
        self.border = np.full((rows, neighbors), np.inf, dtype=np.float32)
        self.parts: list[Candidates] = []

    def add(self, tile: Distances, codes: Ints, query: Operand, reference: Operand) -> None:
        """Take in a tile of distances (B,T) and the class of each of its columns (T,)."""
        neighbors = self.border.shape[1]
        if not self.parts and tile.shape[1] > neighbors:  # a first border, so that few candidates pass it
            first = np.sort(np.partition(tile, neighbors - 1, axis=1)[:, :neighbors], axis=1)
            self.border = self._widen(first)
        row, column = np.divmod(np.flatnonzero(tile <= self.border[:, -1:]), tile.shape[1])
        distance = tile[row, column]
        last = self._widen(_smallest_of(row, distance, neighbors, len(self.error))[:, None])[:, 0]
        keep = (distance <= last[row]) & np.isfinite(distance)
        row, column, distance = row[keep], column[keep], distance[keep]
        if not self.exact:
            distance = paired_at(query.rows, reference.rows, row, column)
        self.add_exact(row, distance, codes[column])

    def add_exact(self, row: Ints, distance: Distances, code: Ints) -> None:
        """Join exact distances, ordered by row, with what is kept; equal ones of a class become one entry."""
        weight = np.ones(len(row), dtype=np.int64)
        if self.parts:
            old = self.parts[0]
            row, distance = np.concatenate([old.row, row]), np.concatenate([old.distance, distance])
            code, weight = np.concatenate([old.code, code]), np.concatenate([old.weight, weight])
        order = np.lexsort((code, distance, row))
        row, distance, code, weight = row[order], distance[order], code[order], weight[order]
        new = np.ones(len(row), dtype=np.bool_)
        new[1:] = (row[1:] != row[:-1]) | (distance[1:] != distance[:-1]) | (code[1:] != code[:-1])
        at = np.flatnonzero(new)
        row, distance, code, weight = row[at], distance[at], code[at], np.add.reduceat(weight, at)
        exact = _smallest(row, distance, weight, self.border.shape)
        keep = distance <= exact[row, -1]
        self.border = self._widen(exact)
        self.parts = [Candidates(row[keep], distance[keep], code[keep], weight[keep], exact)]

    def _widen(self, border: Distances) -> Distances:
        """Return borders that no distance passes which is truly within, or tied with, the given ones."""
        return np.asarray(border * np.float32(1 + 2.0**-21) + self.error[:, None])

    def result(self) -> Candidates:
        """Return the candidates of every query."""
        return self.parts[0]


def _smallest_of(row: Ints, distance: Distances, k: int, rows: int) -> Distances:
    """Return the k-th smallest distance (rows,) of each row from entries ordered by row, infinity where fewer."""
    order = np.lexsort((distance, row))
    at = np.arange(len(row)) - np.searchsorted(row, row) == k - 1
    result = np.full(rows, np.inf, dtype=np.float32)
    result[row[at]] = distance[order][at]
    return result


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
