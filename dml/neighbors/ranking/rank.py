"""One pass over tiles of distances: ranks of each query's positives and its nearest classes."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dml.functional.retrieval import Ranks, rank_positives
from dml.neighbors.exact import Operand, paired_at, product_error, squared_distances
from dml.neighbors.ranking.counts import RankCounts, sort_keys
from dml.neighbors.ranking.layout import Ints, RankingTask
from dml.neighbors.ranking.nearest import Candidates, Nearest
from dml.neighbors.ranking.small import rank_small
from dml.neighbors.ranking.tiles import Block

Distances = NDArray[np.float32]
Run = tuple[int, int, int, int]
_FARTHEST = np.finfo(np.float32).max  # what is hidden lies beyond
_TOGETHER = 64  # references
_GLANCE = 2048  # references looked at for a first idea of how far the nearest lie


class Found(NamedTuple):
    """References (n,) at positions `column`, at about `product` from the queries `row` of a block."""

    row: Ints
    column: Ints
    product: Distances


def rank_block(task: RankingTask, block: Block, neighbors: int) -> tuple[Ranks, Candidates] | None:
    """Rank the positives of a block of queries against every reference, and keep the nearest references.

    Args:
        task: Queries and references.
        block: Which queries, and the tiles to take; each query has a positive.
        neighbors: How many nearest references to keep, plus all tied with the last.

    Returns:
        None for a block of a small set that `rank_small` leaves to smaller blocks of exact distances.
    """
    if not block.columns:
        return rank_small(task, block, None, neighbors)
    layout, (low, high, columns, products) = task.layout, block
    query, number = task.queries(low, high, np.float64), layout.positives[low:high]
    positives = positive_distances(task, query, low, high, columns)
    nearest = Nearest(high - low, neighbors)
    _add_positives(nearest, positives, number, layout.query_class[low:high])
    if products:
        query = task.queries(low, high, np.float32)
        error = product_error(query, task.longest)
        counts = RankCounts(positives, number, error)
        _count_products(task, block, query, error, counts, nearest)
    else:
        counts = RankCounts(positives, number)
        _count_sorted(task, block, query, counts, nearest)
    arrays = positives, number, counts.table(counts.closer), counts.table(counts.not_farther)
    return rank_positives(*(torch.from_numpy(array) for array in arrays)), nearest.result()


def _add_positives(nearest: Nearest, positives: Distances, number: Ints, own: Ints) -> None:
    first = positives[:, : nearest.border.shape[1]]
    tied = positives <= first[:, -1:]  # with the last that can be among the nearest
    row, column = np.nonzero(tied & (np.arange(positives.shape[1]) < number[:, None]))
    nearest.add(row, positives[row, column], own[row])


def _count_sorted(task: RankingTask, block: Block, query: Operand, counts: RankCounts, nearest: Nearest) -> None:
    """Take exact distances to all references, and sort them."""
    for start, stop in _tiles(task, block):
        tile = squared_distances(query, task.references(start, stop, np.float64))
        _hide_positives(task, block, tile, start, stop)
        task.hide_excluded(tile, block.low, block.high, start, stop)
        border = _glance(nearest, tile, every=not start)
        row, column = np.divmod(np.flatnonzero(tile <= border[:, None]), stop - start)
        near = np.isfinite(tile[row, column])  # positives are hidden at infinity
        row, column = row[near], column[near]
        nearest.add(row, tile[row, column], task.layout.reference_class[start:stop][column])
        tile.sort(axis=1)
        counts.add_sorted(tile)


def _count_products(
    task: RankingTask, block: Block, query: Operand, error: NDArray[np.float64], counts: RankCounts, nearest: Nearest
) -> None:
    """Take float32 products with all references, and look closer at the few that may matter."""
    held: list[Found] = []
    border = reach = np.empty(0, dtype=np.float32)
    whole = np.empty((block.high - block.low) * block.columns, dtype=np.float32)
    mask = np.empty(len(whole), dtype=np.bool_)
    for start, stop in _tiles(task, block):
        size = (block.high - block.low) * (stop - start)
        tile: Distances = whole[:size].reshape(-1, stop - start)  # (B, T)
        inside = mask[:size].reshape(tile.shape)
        np.matmul(query.factors, task.references(start, stop, np.float32).factors.T, out=tile)  # both float32
        _hide_positives(task, block, tile, start, stop)
        task.hide_excluded(tile, block.low, block.high, start, stop)
        if not start:
            border = _widen(_glance(nearest, tile), error)
            reach = np.minimum(np.maximum(border, counts.reach), _FARTHEST)
        np.less_equal(tile, reach[:, None], out=inside)
        row, column = np.divmod(np.flatnonzero(inside), stop - start)
        held.append(Found(row, column + start, np.asarray(tile[row, column])))
        if stop == len(task.layout.reference_order) or sum(len(part.row) for part in held) > len(whole) // 8:
            found = Found(*(np.concatenate(part) for part in zip(*held, strict=True)))
            _settle(task, query, error, found, border, counts, nearest)
            held = []


def _settle(
    task: RankingTask,
    query: Operand,
    error: NDArray[np.float64],
    found: Found,
    border: Distances,
    counts: RankCounts,
    nearest: Nearest,
) -> None:
    """Count the references found, and keep the nearest of them."""
    row, column, product = found

    def exact(chosen: NDArray[np.bool_]) -> Distances:
        if not query.error:
            return product[chosen]
        at = task.layout.reference_order[column[chosen]]
        return paired_at(query.rows, task.reference.embeddings, row[chosen], at)

    counts.add_products(row, product, exact)
    near = np.isfinite(product)  # positives are hidden at infinity
    near &= product <= border[row]
    last = _smallest_of(row[near], product[near], nearest.border.shape)
    near &= product <= _widen(np.minimum(last, nearest.border[:, -1]), error)[row]
    nearest.add(row[near], exact(near), task.layout.reference_class[column[near]])


def _widen(border: Distances, error: NDArray[np.float64]) -> Distances:
    """Return borders (B,) that no product exceeds whose exact distance is within, or tied with, the given ones."""
    return np.asarray(border * (1 + 2.0**-21) + 2.001 * error, dtype=np.float32)


def _glance(nearest: Nearest, tile: Distances, every: bool = False) -> Distances:
    """Return a distance (B,) that the last of the nearest does not exceed, as far as the tile's are exact.

    Args:
        nearest: Those found so far.
        tile: (B,T).
        every: Whether to look at the tile for queries too that have found enough: they may be far.
    """
    border = nearest.border[:, -1].copy()
    k, first = nearest.border.shape[1], tile[:, :_GLANCE]
    open_rows = np.flatnonzero(np.isinf(border) | every)
    if len(open_rows) and first.shape[1] >= k:
        found = np.partition(first[open_rows], k - 1, axis=1)[:, k - 1]
        border[open_rows] = np.minimum(border[open_rows], found)
    return border


def _smallest_of(row: Ints, distance: Distances, shape: tuple[int, int]) -> Distances:
    """Return the K-th smallest distance (B,) of each row, infinity where there are fewer."""
    keys = np.sort(sort_keys(row, distance))
    bounds = np.searchsorted(keys, np.arange(shape[0] + 1) << 32)
    at = bounds[:-1] + shape[1] - 1
    result = np.full(shape[0], np.inf, dtype=np.float32)
    inside = at < bounds[1:]
    result[inside] = (keys[at[inside]] & 0xFFFFFFFF).astype(np.int32).view(np.float32)
    return result


def _tiles(task: RankingTask, block: Block) -> Iterator[tuple[int, int]]:
    total = len(task.layout.reference_order)
    return ((start, min(start + block.columns, total)) for start in range(0, total, block.columns))


def _runs(task: RankingTask, low: int, high: int) -> Iterator[Run]:
    """Yield runs of queries of one class: first and last query from `low` on, first and last reference."""
    own = task.layout.query_class[low:high]
    edges = [0, *(np.flatnonzero(np.diff(own)) + 1).tolist(), high - low]
    for top, bottom in pairwise(edges):
        left, right = task.layout.starts[own[top] : own[top] + 2].tolist()
        yield top, bottom, left, right


def _hide_positives(task: RankingTask, block: Block, tile: Distances, start: int, stop: int) -> None:
    """Put each query's own class, itself included, at infinity: its exact distances are known."""
    for top, bottom, left, right in _runs(task, block.low, block.high):
        tile[top:bottom, max(left - start, 0) : max(right - start, 0)] = np.inf


def positive_distances(task: RankingTask, query: Operand, low: int, high: int, columns: int) -> Distances:
    """Return the distances (B,P) of each query's positives, ascending, filled up with infinity."""
    layout = task.layout
    runs = list(_runs(task, low, high))
    found = np.full((high - low, max(right - left for _, _, left, right in runs)), np.inf, dtype=np.float32)
    for group in _side_by_side(runs):
        top, bottom, first, end = group[0][0], group[-1][1], group[0][2], group[-1][3]
        part = query.part(top, bottom)
        for start in range(first, end, columns):
            stop = min(start + columns, end)
            tile = squared_distances(part, task.references(start, stop, np.float64))
            _hide_self(tile, layout.self_at[low + top : low + bottom], start, stop)
            task.hide_excluded(tile, low + top, low + bottom, start, stop)
            for upper, lower, left, right in group:
                begin, until = max(start, left), min(stop, right)
                if begin < until:
                    own = tile[upper - top : lower - top, begin - start : until - start]
                    found[upper:lower, begin - left : until - left] = own
    found.sort(axis=1)
    return np.ascontiguousarray(found[:, : int(layout.positives[low:high].max())])


def _side_by_side(runs: list[Run]) -> Iterator[list[Run]]:
    """Yield runs in groups that share one product: enough columns to be worth it, few of them in vain."""
    group: list[Run] = []
    for run in runs:
        if group and run[3] - group[0][2] > _TOGETHER:
            yield group
            group = []
        group.append(run)
    yield group


def _hide_self(tile: Distances, own: Ints, start: int, stop: int) -> None:
    inside = np.flatnonzero((own >= start) & (own < stop))
    tile[inside, own[inside] - start] = np.inf
