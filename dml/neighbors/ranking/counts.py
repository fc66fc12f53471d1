"""Counts how many references of other classes lie closer than each positive.

Two ways give the same counts. Exact distances of all references, sorted. Or float32 products of the few references that
may be closer than the farthest positive: only those within rounding error of a positive need their exact distance.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from dml.neighbors.ranking.layout import Ints

Distances = NDArray[np.float32]
Exact = Callable[[NDArray[np.bool_]], Distances]


class RankCounts:
    """Running counts for B queries with up to P positives each.

    Args:
        positives: Exact distances of the positives, ascending along each row, filled up with infinity, (B,P).
        number: How many there are, (B,), each ≥ 1.
        error: How far the products may be off, (B,); None where distances are exact and sorted.
    """

    def __init__(self, positives: Distances, number: Ints, error: NDArray[np.float64] | None = None) -> None:
        self._positives = positives
        self.filled = np.arange(positives.shape[1]) < number[:, None]
        self.ends = np.cumsum(number)
        self.starts = self.ends - number
        self._row = np.repeat(np.arange(len(number)), number)
        self._exact = positives[self.filled]  # (n,), all positives in a line
        self.closer, self.not_farther = self._among_themselves()  # (n,)
        if error is not None:
            slack = error[self._row] + 2.0**-22 * self._exact  # the exact distance itself is rounded
            low = np.nextafter((self._exact - slack).astype(np.float32), np.float32(-np.inf))
            high = np.nextafter((self._exact + slack).astype(np.float32), np.float32(np.inf))
            self.reach = high[self.ends - 1]  # (B,): no product beyond it is closer than a positive
            self._keys = sort_keys(self._row, self._exact)
            self._low, self._high = sort_keys(self._row, low), sort_keys(self._row, high)

    def _among_themselves(self) -> tuple[Ints, Ints]:
        """Return how many positives are closer than each (n,), and how many not farther, by runs of equal ones."""
        new = np.ones(len(self._exact), dtype=np.bool_)
        new[1:] = self._exact[1:] != self._exact[:-1]
        new[self.starts] = True
        first = np.flatnonzero(new)
        length = np.diff(first, append=len(new))
        place = self.starts[self._row]
        return np.repeat(first, length) - place, np.repeat(first + length, length) - place

    def add_sorted(self, ordered: Distances) -> None:
        """Count a tile (B,T) of exact distances, each row sorted."""
        tile, wanted = torch.from_numpy(ordered), torch.from_numpy(self._positives)
        left = torch.searchsorted(tile, wanted)
        tied = tile.gather(1, left.clamp(max=tile.shape[1] - 1)) == wanted
        tied &= torch.from_numpy(self.filled)
        rows = tied.any(dim=1).nonzero()[:, 0]  # elsewhere there is no tie in this tile
        right = left.index_copy(0, rows, torch.searchsorted(tile[rows], wanted[rows], right=True))
        self.closer += left.numpy()[self.filled]
        self.not_farther += right.numpy()[self.filled]

    def add_products(self, row: Ints, product: Distances, exact: Exact) -> None:
        """Count references (n,) of queries `row` (n,) by their products (n,).

        Args:
            row: Queries, in any order.
            product: Squared distances, off by no more than `error`.
            exact: Gives the exact distances of the references chosen by a mask (n,).
        """
        keys = sort_keys(row, product)
        at = np.searchsorted(self._high, keys)  # the first positive that is not surely closer
        unsure = keys >= self._low[np.minimum(at, len(self._low) - 1)]
        unsure &= at < self.ends[row]
        farther = not_closer = at
        if unsure.any():
            keys = sort_keys(row[unsure], exact(unsure))
            farther, not_closer = at.copy(), at.copy()
            farther[unsure] = np.searchsorted(self._keys, keys, side="right")
            not_closer[unsure] = np.searchsorted(self._keys, keys)
        self.closer += self._count(row, farther)
        self.not_farther += self._count(row, not_closer)

    def _count(self, row: Ints, first: Ints) -> Ints:
        """Return for each positive how many references have it, or one before it in its row, as their `first`."""
        total = np.bincount(first[first < self.ends[row]], minlength=len(self._keys)).cumsum()
        before = np.concatenate([[0], total])[self.starts]
        return np.asarray(total - before[self._row])

    def table(self, counts: Ints) -> Ints:
        """Return counts of all positives in a line as a table (B,P), zero where there is none."""
        result = np.zeros(self.filled.shape, dtype=np.int64)
        result[self.filled] = counts
        return result


def sort_keys(row: Ints, distance: Distances) -> Ints:
    """Return whole numbers (n,) that order by row (n,), then by distance (n,); those below zero count as zero.

    Example:
        >>> keys = sort_keys(np.array([1, 0, 1]), np.array([0.5, 9.0, -1.0], dtype=np.float32))
        >>> np.argsort(keys)
        array([1, 2, 0])
    """
    bits = np.maximum(distance, np.float32(0)).view(np.int32)  # floats from zero on order like their bits
    return np.asarray((row << 32) | bits)
