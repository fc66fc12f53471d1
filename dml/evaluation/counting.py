"""Counts, tile by tile, how many references lie closer than each positive; it knows nothing of labels or scores.

Two ways give the same counts. With many positives a query: exact distances, sorted. With few: float32 products, where
only references within rounding error of a positive need their exact distance.
"""

import numpy as np
from numpy.typing import NDArray

from dml.evaluation.problem import Ints
from dml.neighbors.exact import Operand, Rows, paired_at

Distances = NDArray[np.float32]


class Counts:
    """Running counts for B queries with up to P positives each.

    Args:
        positives: Exact distances of the positives, ascending along each row, filled up with infinity, (B,P).
        number: How many there are, (B,).
    """

    def __init__(self, positives: Distances, number: Ints) -> None:
        self.positives, self.number = positives, number
        self.closer = np.zeros(positives.shape, dtype=np.int64)
        self.not_farther = np.zeros(positives.shape, dtype=np.int64)

    def add_sorted(self, ordered: Distances) -> None:
        """Count a tile (B,T) of exact distances, each row sorted."""
        last = ordered.shape[1] - 1
        for i, number in enumerate(self.number):
            wanted, row = self.positives[i, :number], ordered[i]
            left = np.searchsorted(row, wanted)
            right = left.copy()
            here = np.flatnonzero(row[np.minimum(left, last)] == wanted)  # elsewhere there is no tie in this tile
            right[here] = np.searchsorted(row, wanted[here], side="right")
            self.closer[i, :number] += left
            self.not_farther[i, :number] += right

    def add_products(self, tile: Distances, error: NDArray[np.float64], query: Operand, reference: Operand) -> None:
        """Count a tile (B,T) of float32 products that are off by at most `error` (B,)."""
        filled = np.arange(self.positives.shape[1]) < self.number[:, None]
        positives = np.where(filled, self.positives, 0)
        slack = error[:, None] + 2.0**-22 * positives  # the exact distance itself is rounded
        low = np.nextafter((positives - slack).astype(np.float32), np.float32(-np.inf))
        high = np.nextafter((positives + slack).astype(np.float32), np.float32(np.inf))
        high[~filled] = -np.inf
        rows = np.flatnonzero((tile <= high.max(axis=1, keepdims=True)).any(axis=1))
        for j in range(self.positives.shape[1]):
            rows = rows[self.number[rows] > j]
            if not len(rows):
                break
            self._add_column(
                j, rows, tile if len(rows) == len(tile) else tile[rows], low, high, query.rows, reference.rows
            )

    def _add_column(
        self, j: int, rows: Ints, tile: Distances, low: Distances, high: Distances, query: Rows, reference: Rows
    ) -> None:
        surely = tile < low[rows, j, None]
        unsure = tile <= high[rows, j, None]
        counts = np.array([np.count_nonzero(row) for row in surely])
        np.not_equal(surely, unsure, out=unsure)
        at, column = np.divmod(np.flatnonzero(unsure), tile.shape[1])
        row = rows[at]
        exact = paired_at(query, reference, row, column)
        inside = np.isfinite(tile[at, column])  # the query itself is at infinity
        border = self.positives[row, j]
        self.closer[rows, j] += counts
        self.not_farther[rows, j] += counts
        self.closer[:, j] += np.bincount(row[(exact < border) & inside], minlength=len(self.number))
        self.not_farther[:, j] += np.bincount(row[(exact <= border) & inside], minlength=len(self.number))
