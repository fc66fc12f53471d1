"""The ranks of the positives among the nearest references, from a float32 search that is refined and certified."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dml.functional.retrieval import Ranks, rank_positives
from dml.neighbors.distances import error_bound, row_sizes
from dml.neighbors.exact import paired_at
from dml.neighbors.index import search_nearest
from dml.neighbors.ranking.layout import RankingTask
from dml.neighbors.ranking.nearest import Candidates, Nearest
from dml.neighbors.ranking.tiles import Block

QUERIES = 2048  # of a block, where memory allows
MOST = 512  # nearest references beyond which ranking all of them is faster
Distances = NDArray[np.float32]
_SPARE = 4  # candidates beyond those asked for, so that most borders can be certified
_WIDER, _TIMES = 4, 2  # the rest are searched again for so many times as many, so often


class NearestSearch:
    """Searches the references of a task, which it keeps ready: R·D float32 numbers.

    Args:
        task: Queries and references, without groups.
        device: Where to search; None: the CPU.
    """

    def __init__(self, task: RankingTask, device: torch.device | None = None) -> None:
        self.task, self.device = task, str(device or "cpu")
        self._references = task.centred_references()
        self._longest = float(row_sizes("l2", self._references).max())

    def rank(self, block: Block, k: int, neighbors: int) -> tuple[Ranks, Candidates] | None:
        """Rank the positives of a block of queries among their k nearest references, ties with the last included.

        Args:
            block: Which queries; each has a positive.
            k: Up to which place ranks are wanted, of other references than the query.
            neighbors: How many nearest references to keep, ≤ k, plus all tied with the last.

        Returns:
            What `rank_block` does, but of positives beyond the k nearest, which count as farther than all others; None
            where the error bound cannot tell the k nearest of every query.
        """
        rows, total = np.arange(block.low, block.high), len(self.task.layout.reference_order)
        query = self.task.centred_queries(block.low, block.high)
        wide = min(k + 1 + _SPARE, total)  # the query itself may be found
        keys, found, certain = self._search(query, rows, k, wide)
        for _ in range(_TIMES):
            again = np.flatnonzero(~certain)
            if not len(again) or wide == total:
                break
            wide = min(_WIDER * wide, total)
            more, places, certain[again] = self._search(query[again], rows[again], k, wide)
            keys, found = _widened(keys, more.shape[1], np.inf), _widened(found, more.shape[1], 0)
            keys[again], found[again] = more, places
        if not certain.all():
            return None
        code = self.task.layout.reference_class[found]
        return self._ranks(block, keys, code, keys[:, k - 1]), _nearest(keys, code, neighbors)

    def _search(
        self, query: Distances, rows: NDArray[np.int64], k: int, wide: int
    ) -> tuple[Distances, NDArray[np.int64], NDArray[np.bool_]]:
        """Return the `wide` nearest of each query, and whether its k nearest, and all tied with the last, are certain.

        Args:
            query: (B,D), centred.
            rows: their positions (B,) in class order.
            k: how many must be certain.
            wide: how many are searched for.
        """
        layout = self.task.layout
        rough, found = search_nearest(query, self._references, wide, self.device)
        error = error_bound("l2", query, self._longest, rough[:, -1])
        beyond = rough[:, -1] - error  # no reference that is not found is closer
        own = layout.self_at[rows] >= 0
        if own.any():
            rough, found = _without_self(rough, found, layout.self_at[rows])
        keys = self._ordered(rough, found, error, rows)
        certain = keys[:, k - 1] + error < beyond * (1 - 2.0**-22)
        if wide == len(layout.reference_order) and own.all() == own.any():
            certain[:] = True
        return keys, found, certain

    def _ordered(
        self, rough: Distances, found: NDArray[np.int64], error: NDArray[np.float64], rows: NDArray[np.int64]
    ) -> Distances:
        """Return keys (B,W) in the order, and with the ties, of exact distances, and bring `found` into it.

        Rough distances (B,W), ascending, that are farther from all others than the error have the order of the exact
        ones; the rest are computed.
        """
        layout = self.task.layout
        close = rough[:, 1:] - rough[:, :-1] <= (2 * error[:, None] + 2.0**-21 * rough[:, 1:])
        doubtful = np.zeros(rough.shape, dtype=np.bool_)
        doubtful[:, 1:] = close
        doubtful[:, :-1] |= close
        row, column = np.nonzero(doubtful)
        keys = rough.copy()
        at = layout.reference_order[found[row, column]]
        queries = self.task.query.embeddings
        keys[row, column] = paired_at(queries, self.task.reference.embeddings, layout.query_order[rows[row]], at)
        moved = np.unique(row)
        order = np.argsort(keys[moved], axis=1, kind="stable")
        keys[moved] = np.take_along_axis(keys[moved], order, 1)
        found[moved] = np.take_along_axis(found[moved], order, 1)
        return keys

    def _ranks(self, block: Block, exact: Distances, code: NDArray[np.int64], border: Distances) -> Ranks:
        """Return the ranks of the positives among references in order of their distances, (B,W)."""
        layout = self.task.layout
        within = exact <= border[:, None]
        own = within & (code == layout.query_class[block.low : block.high, None])
        first, after = _runs(exact)
        found = own.sum(axis=1)
        shape = len(exact), max(1, int(found.max()))
        filled = np.arange(shape[1]) < found[:, None]
        distances = np.full(shape, np.inf, dtype=np.float32)
        closer, not_farther = (np.full(shape, exact.shape[1], dtype=np.int64) for _ in range(2))
        distances[filled], closer[filled], not_farther[filled] = exact[own], first[own], after[own]
        number = layout.positives[block.low : block.high]
        return rank_positives(*(torch.from_numpy(part) for part in (distances, number, closer, not_farther)))


def _without_self(
    rough: Distances, found: NDArray[np.int64], own: NDArray[np.int64]
) -> tuple[Distances, NDArray[np.int64]]:
    """Leave out each query's own position (B,) from what it found (B,W), or else the last."""
    others = found != own[:, None]
    others[others.all(axis=1), -1] = False
    shape = len(found), found.shape[1] - 1
    return rough[others].reshape(shape), found[others].reshape(shape)


def _widened(table: NDArray[Any], width: int, filler: float) -> NDArray[Any]:
    """Return a table (B,W) with more columns of a filler, (B,width)."""
    wider = np.full((len(table), width), filler, dtype=table.dtype)
    wider[:, : table.shape[1]] = table
    return wider


def _runs(ordered: Distances) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the run of equal numbers that each number of a row is in starts, and where it ends, (B,W)."""
    place = np.broadcast_to(np.arange(ordered.shape[1]), ordered.shape)
    differs, edge = ordered[:, 1:] != ordered[:, :-1], np.ones((len(ordered), 1), dtype=np.bool_)
    first = np.maximum.accumulate(np.where(np.concatenate([edge, differs], axis=1), place, 0), axis=1)
    ends = np.where(np.concatenate([differs, edge], axis=1), place + 1, ordered.shape[1])
    return first, np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]


def _nearest(exact: Distances, code: NDArray[np.int64], neighbors: int) -> Candidates:
    nearest = Nearest(len(exact), neighbors)
    row, column = np.nonzero(exact <= exact[:, neighbors - 1, None])
    nearest.add(row, exact[row, column], code[row, column])
    return nearest.result()
