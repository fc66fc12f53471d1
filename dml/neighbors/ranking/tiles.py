"""Cuts the ranking into blocks of queries and tiles of references that fit into the allowed memory."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from dml.errors import UserError
from dml.neighbors.memory import parse_memory
from dml.neighbors.ranking.layout import Ints, RankingTask

_SORTED = 1 << 19  # exact distances in a tile: 2 MiB, in cache
SMALL = 4096  # references
_PACKED = 5 << 20  # numbers in a block of a small set, 16 for each rank wanted of a query counted in
_FEW = 64  # ranks of a query: float32 products leave few of them in doubt, however classes lie
_GLANCE = 256  # references that tell which way is cheaper
_PER_POSITIVE = 200  # bytes of ranks and scores for one positive of one query
_PER_DISTANCE = 120  # bytes of one distance in a tile, counting what a tile of nothing but ties takes


class Block(NamedTuple):
    """The queries `low` to `high` in class order, the references per tile, and whether to take float32 products.

    No references per tile: all at once, by `rank_small`.
    """

    low: int
    high: int
    columns: int
    products: bool

    def cut(self, count: int) -> list["Block"]:
        """Return blocks of fewer queries, to be ranked by exact distances to all `count` references."""
        step = max(64, _SORTED // count)
        lows = range(self.low, self.high, step)
        return [Block(low, min(low + step, self.high), count, products=False) for low in lows]


class Tiling(NamedTuple):
    """All blocks, how many are worked on at once, and whether the references are kept prepared."""

    blocks: list[Block]
    workers: int
    keep: bool


def make_tiling(
    task: RankingTask, memory: str | int, accelerated: bool = False, products: bool | None = None, most: int = 0
) -> Tiling:
    """Return blocks whose working memory, for all workers together, stays within `memory`.

    Args:
        task: Queries and references.
        memory: Bytes, or text like "2GiB".
        accelerated: Whether an accelerator computes the tiles: larger ones, one at a time, all of exact distances.
        products: Whether to count by products; None: where that is cheaper.
        most: How many queries a block may have; 0: as many as the way of counting likes.

    Raises:
        UserError: Not even one query against one reference fits.
    """
    layout, dim = task.layout, task.query.embeddings.shape[1]
    num_queries, num_references = len(layout.query_order), len(layout.reference_order)
    available = parse_memory(memory) - 200 * (num_queries + num_references)  # orders, codes, and one number per score
    scored = np.flatnonzero(layout.positives > 0)
    if products is None:
        products = not accelerated and takes_products(task, scored)
    kept = num_references * dim * (8 if products else 12)
    keep = kept < available // 2
    available -= kept if keep else 0
    workers = 1 if accelerated else torch.get_num_threads()
    columns = min(1 << 15 if accelerated else 4096 if products else 1 << 16, num_references)
    most = most or (1024 if accelerated else 512 if products else max(64, _SORTED // columns))
    rows = min(most, max(64, -(-len(scored) // (2 * workers))))  # every worker gets some blocks
    classes = len(layout.starts) - 1
    per_tile = _PER_DISTANCE, 0 if keep else 32 * dim, 24 * dim + 60 * min(classes, num_references)
    cut = partial(_cut, layout.positives, scored, (rows, columns), per_tile=per_tile)
    blocks = cut(available // workers)
    if not blocks:
        workers, blocks = 1, cut(available)
    if not blocks:
        need = parse_memory(memory) - available + sum(per_tile) + _PER_POSITIVE * int(layout.positives.max())
        raise UserError(f"max_memory {memory!r} is too small for one tile: these embeddings need at least {need} bytes")
    return Tiling([Block(low, high, columns, products) for low, high, columns in blocks], workers, keep)


def make_small_tiling(task: RankingTask, memory: str | int, ranks: int) -> Tiling | None:
    """Return blocks for `rank_small`, many queries and all references each; None where that is not the way.

    Args:
        task: Queries and references.
        memory: Bytes, or text like "2GiB".
        ranks: How many ranks of a query are wanted at most.
    """
    layout, count, workers = task.layout, len(task.layout.reference_order), torch.get_num_threads()
    if layout.groups is not None or count > SMALL:
        return None
    positives, scored = layout.positives, np.flatnonzero(layout.positives > 0)
    per_tile = _PER_DISTANCE, 32 * task.query.embeddings.shape[1], 60 * (len(layout.starts) - 1)
    available = (parse_memory(memory) - 200 * (len(positives) + count)) // workers
    most = max(64, _PACKED // (count + 16 * ranks))
    rows = -(-len(scored) // max(workers, -(-len(scored) // most)))
    while not _fits(rows, count, int(positives.max()), available, per_tile):
        rows //= 2
        if rows < 64:
            return None
    products = ranks <= _FEW or takes_products(task, scored)
    blocks = _cut(positives, scored, (rows, count), available, per_tile)
    return Tiling([Block(low, high, 0, products) for low, high, _ in blocks], workers, keep=False)


def takes_products(task: RankingTask, scored: Ints) -> bool:
    """Say whether looking closer at what float32 products leave open is cheaper than sorting exact distances.

    Judged by a few queries and references, in measured nanoseconds per reference: 60 for one no farther than the
    farthest positive and 50 + .6·D more where its distance must be exact, against 22 + .012·D for sorting.
    """
    layout, dim = task.layout, task.query.embeddings.shape[1]
    glance = np.linspace(0, len(layout.reference_order) - 1, _GLANCE).astype(np.int64)
    reference = task.reference.embeddings[layout.reference_order[np.unique(glance)]].astype(np.float64)
    shares = []
    for i in np.unique(np.linspace(0, len(scored) - 1, 16).astype(np.int64)):
        query = task.query.embeddings[layout.query_order[scored[i]]].astype(np.float64)
        first, end = layout.starts[layout.query_class[scored[i]] :][:2]
        own = np.unique(np.linspace(first, end - 1, 256).astype(np.int64))
        own = own[own != layout.self_at[scored[i]]]
        distances, positives = (
            np.square(rows - query).sum(axis=1)
            for rows in (reference, task.reference.embeddings[layout.reference_order[own]])
        )
        inside = np.mean(distances <= positives.max(initial=0))
        windows = (end - first) * 2.0**-22 * (dim + 16) * task.longest**2
        unsure = min(1.0, windows / max(float(np.ptp(positives)) if len(positives) else 0.0, 1e-30))
        shares.append(inside * (60 + unsure * (50 + 0.6 * dim)))
    return bool(np.mean(shares) < 22 + 0.012 * dim)


def _cut(
    positives: Ints, scored: Ints, shape: tuple[int, int], memory: int, per_tile: tuple[int, int, int]
) -> list[tuple[int, int, int]]:
    """Cut runs of scored queries into blocks (low, high, columns) that fit, or into none where not even one does."""
    blocks: list[tuple[int, int, int]] = []
    low = 0
    while low < len(scored):
        columns = shape[1]
        high = min(low + shape[0], len(scored))
        while not _fits(high - low, columns, int(positives[scored[high - 1]]), memory, per_tile):
            if columns > 1 and (columns > 1024 or high - low == 1):
                columns //= 2
            elif high - low > 1:
                high = low + (high - low) // 2
            else:
                return []
        run = np.flatnonzero(np.diff(scored[low:high]) > 1)
        high = low + int(run[0]) + 1 if len(run) else high
        blocks.append((int(scored[low]), int(scored[high - 1]) + 1, columns))
        low = high
    return blocks


def _fits(rows: int, columns: int, positives: int, memory: int, per_tile: tuple[int, int, int]) -> bool:
    distance, column, row = per_tile
    return rows * (columns * distance + row + positives * _PER_POSITIVE) + columns * column <= memory
