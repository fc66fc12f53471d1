"""One pass over tiles of distances: ranks of each query's positives and its nearest classes; it averages nothing."""

import numpy as np
import torch
from numpy.typing import NDArray

from dml.evaluation.counting import Counts
from dml.evaluation.nearest import Candidates, Nearest
from dml.evaluation.plan import Block
from dml.evaluation.problem import Ints, Problem
from dml.functional.retrieval import Ranks, rank_positives
from dml.neighbors.exact import Operand, product_error, squared_distances

Distances = NDArray[np.float32]


def rank_block(problem: Problem, block: Block, neighbors: int) -> tuple[Ranks, Candidates]:
    """Rank the positives of a block of queries against every reference, and keep the nearest references.

    Args:
        problem: Queries and references.
        block: Which queries, and the tiles to take; each query has a positive.
        neighbors: How many nearest references to keep, plus all tied with the last.
    """
    layout, (low, high, columns, products) = problem.layout, block
    query, own, number = problem.queries(low, high, np.float64), layout.self_at[low:high], layout.positives[low:high]
    counts = Counts(positive_distances(problem, query, low, high, columns), number)
    if products:
        query = problem.queries(low, high, np.float32)
    error = product_error(query, problem.longest) if products else np.zeros(high - low)
    nearest = Nearest(high - low, neighbors, error)
    for start in range(0, len(layout.reference_order), columns):
        stop = min(start + columns, len(layout.reference_order))
        reference = problem.references(start, stop, np.float32 if products else np.float64)
        tile = _products(query, reference) if products else squared_distances(query, reference)
        _hide_self(tile, own, start, stop)
        nearest.add(tile, layout.reference_class[start:stop], query, reference)
        if products:
            counts.add_products(tile, error, query, reference)
        else:
            tile.sort(axis=1)
            counts.add_sorted(tile)
    arrays = counts.positives, number, counts.closer, counts.not_farther
    return rank_positives(*(torch.from_numpy(array) for array in arrays)), nearest.result()


def _products(query: Operand, reference: Operand) -> Distances:
    tile: Distances = query.factors @ reference.factors.T  # both float32
    return tile


def _hide_self(tile: Distances, own: Ints, start: int, stop: int) -> None:
    inside = np.flatnonzero((own >= start) & (own < stop))
    tile[inside, own[inside] - start] = np.inf


def positive_distances(problem: Problem, query: Operand, low: int, high: int, columns: int) -> Distances:
    """Return the distances (B,P) of each query's positives, ascending, filled up with infinity."""
    layout = problem.layout
    begin, end = (layout.starts[layout.query_class[low:high] + i] for i in (0, 1))
    found = np.full((high - low, int((end - begin).max())), np.inf, dtype=np.float32)
    for start in range(int(begin.min()), int(end.max()), columns):
        stop = min(start + columns, int(end.max()))
        tile = squared_distances(query, problem.references(start, stop, np.float64))
        _hide_self(tile, layout.self_at[low:high], start, stop)
        for i in range(high - low):
            first, last = max(start, int(begin[i])), min(stop, int(end[i]))
            if first < last:
                found[i, first - begin[i] : last - begin[i]] = tile[i, first - start : last - start]
    found.sort(axis=1)
    return np.ascontiguousarray(found[:, : int(layout.positives[low:high].max())])
