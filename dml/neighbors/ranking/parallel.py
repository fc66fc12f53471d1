"""Works through independent blocks of queries on several threads, and on several processes."""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from dml.functional.distributed import gather_rows
from dml.neighbors.ranking.layout import RankingTask
from dml.neighbors.ranking.tiles import Block, Tiling

Table = NDArray[np.float64]
_THREADED = ("faiss", "sklearn", "scipy.linalg")  # bring libraries with threads of their own


def run_blocks(
    task: RankingTask,
    tiling: Tiling,
    score: Callable[[Block], Sequence[Table]],
    num_scores: int,
    group: dist.ProcessGroup | None = None,
    device: torch.device | str = "cpu",
) -> Table:
    """Return the scores of all queries (num_scores,Q); columns of queries in no block stay zero.

    Args:
        task: What the blocks belong to; prepared here once where the tiling says so.
        tiling: The blocks.
        score: The work on one block of B queries: `num_scores` arrays (B,); blocks do not depend on one another.
        num_scores: Number of scores.
        group: Processes that hold the same task and share the blocks; None: this one alone.
        device: Where the processes exchange tensors: `cpu` for gloo, the own GPU for NCCL.
    """
    rank, size = (0, 1) if group is None else (dist.get_rank(group), dist.get_world_size(group))
    if group is not None:
        tiling = _first_of(tiling, group, device)
    mine = tiling.blocks[rank::size]
    if tiling.keep:
        for products in {block.products for block in mine}:
            task.keep(np.float32 if products else np.float64)
    # one table from the start: small results kept between large temporaries would hold the allocator's memory
    table = np.zeros((num_scores, len(task.layout.query_order)))

    def fill(block: Block) -> None:
        for row, values in zip(table, score(block), strict=True):
            row[block.low : block.high] = values

    with _libraries(tuple(name in sys.modules for name in _THREADED)).limit(limits=1):  # one product per thread
        if tiling.workers == 1:
            for block in mine:
                fill(block)
        else:
            with ThreadPoolExecutor(tiling.workers) as pool:
                list(pool.map(fill, mine))
    if group is not None:
        _exchange(table, tiling.blocks, group, device)
    return table


@lru_cache(maxsize=1)
def _libraries(loaded: tuple[bool, ...]) -> ThreadpoolController:
    """Return what limits the threads of the libraries at hand; looking for them takes as long as 300 queries."""
    return ThreadpoolController()


def _first_of(tiling: Tiling, group: dist.ProcessGroup, device: torch.device | str) -> Tiling:
    """Return the first process's tiling: processes with other numbers of threads would cut other blocks."""
    numbers = [[tiling.workers, int(tiling.keep), len(tiling.blocks), 0], *(list(map(int, b)) for b in tiling.blocks)]
    everyone = gather_rows(torch.tensor(numbers, device=device), group).tolist()
    workers, keep, count, _ = everyone[0]
    blocks = [Block(low, high, columns, bool(products)) for low, high, columns, products in everyone[1 : 1 + count]]
    return Tiling(blocks, workers, bool(keep))


def _exchange(table: Table, blocks: Sequence[Block], group: dist.ProcessGroup, device: torch.device | str) -> None:
    """Fill in the columns that the other processes have worked out."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    columns = [[i for block in blocks[r::size] for i in range(block.low, block.high)] for r in range(size)]
    own = torch.from_numpy(np.ascontiguousarray(table[:, columns[rank]].T)).to(device)  # (queries, num_scores)
    everyone = gather_rows(own, group).cpu().numpy()
    table[:, [i for part in columns for i in part]] = everyone.T
