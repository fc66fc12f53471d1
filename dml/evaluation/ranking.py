"""One pass over tiles of distances: ranks of each query's positives and its nearest classes; it averages nothing."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dml.evaluation.problem import Ints, Problem
from dml.functional.retrieval import Ranks, rank_positives
from dml.neighbors.exact import Operand, squared_distances

Distances = NDArray[np.float32]


class Candidates(NamedTuple):
    """The nearest references of a block of queries, ties at the border included: flat arrays sorted by row."""

    row: Ints
    distance: Distances
    code: Ints
    border: Distances  # (B, K): the K smallest distances of each query, ascending


def rank_block(problem: Problem, low: int, high: int, columns: int, neighbors: int) -> tuple[Ranks, Candidates]:
    """Rank the positives of the queries `low` to `high` (class order) against every reference.

    Args:
        problem: Queries and references.
        low: First query.
        high: One past the last query; each of them has a positive.
        columns: References per tile.
        neighbors: How many nearest references to keep, plus all tied with the last.
    """
    query = problem.queries(low, high)
    own = problem.self_at[low:high]
    positives = _positive_distances(problem, query, low, high, columns)  # (B, P)
    closer = np.zeros(positives.shape, dtype=np.int64)
    not_farther = np.zeros(positives.shape, dtype=np.int64)
    nearest = _Nearest(high - low, neighbors)
    for start in range(0, len(problem.reference_order), columns):
        stop = min(start + columns, len(problem.reference_order))
        tile = _tile(problem, query, own, start, stop)
        ordered = np.sort(tile, axis=1)
        nearest.add(tile, ordered, problem.reference_class[start:stop])
        for i, count in enumerate(problem.positives[low:high]):
            closer[i, :count] += np.searchsorted(ordered[i], positives[i, :count])
            not_farther[i, :count] += np.searchsorted(ordered[i], positives[i, :count], side="right")
    arrays = positives, problem.positives[low:high], closer, not_farther
    return rank_positives(*(torch.from_numpy(array) for array in arrays)), nearest.result()


def _tile(problem: Problem, query: Operand, own: Ints, start: int, stop: int) -> Distances:
    """Return the distances (B, stop − start), a query's distance to itself replaced by infinity."""
    tile = squared_distances(query, problem.references(start, stop))
    inside = np.flatnonzero((own >= start) & (own < stop))
    tile[inside, own[inside] - start] = np.inf
    return tile


def _positive_distances(problem: Problem, query: Operand, low: int, high: int, columns: int) -> Distances:
    """Return the distances (B, P) of each query's positives, ascending, filled up with infinity."""
    classes = problem.query_class[low:high]
    begin, end = problem.starts[classes], problem.starts[classes + 1]
    own = problem.self_at[low:high]
    found = np.full((high - low, int((end - begin).max())), np.inf, dtype=np.float32)
    for start in range(int(begin.min()), int(end.max()), columns):
        stop = min(start + columns, int(end.max()))
        tile = _tile(problem, query, own, start, stop)
        for i in range(high - low):
            first, last = max(start, int(begin[i])), min(stop, int(end[i]))
            if first < last:
                found[i, first - begin[i] : last - begin[i]] = tile[i, first - start : last - start]
    found.sort(axis=1)
    return np.ascontiguousarray(found[:, : int(problem.positives[low:high].max())])


class _Nearest:
    """Collects, tile by tile, every reference not farther than the `neighbors`-th nearest."""

    def __init__(self, rows: int, neighbors: int) -> None:
        self.border = np.full((rows, neighbors), np.inf, dtype=np.float32)
        self.parts: list[tuple[Ints, Distances, Ints]] = []

    def add(self, tile: Distances, ordered: Distances, codes: Ints) -> None:
        """Take in one tile: distances, the same sorted along each row, and the class of each column."""
        neighbors = self.border.shape[1]
        self.border = np.sort(np.concatenate([self.border, ordered[:, :neighbors]], axis=1), axis=1)[:, :neighbors]
        row, column = np.nonzero(tile <= self.border[:, -1:])
        finite = np.isfinite(tile[row, column])
        row, column = row[finite], column[finite]
        self.parts.append((row, tile[row, column], codes[column]))

    def result(self) -> Candidates:
        """Return what is still within the final border, sorted by row."""
        row, distance, code = (np.concatenate(part) for part in zip(*self.parts, strict=True))
        keep = distance <= self.border[row, -1]
        order = np.argsort(row[keep], kind="stable")
        return Candidates(row[keep][order], distance[keep][order], code[keep][order], self.border)
