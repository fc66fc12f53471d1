"""Works through independent blocks on several threads, and on several processes; it does not know what a block does."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dml.evaluation.plan import Block, Plan
from dml.evaluation.problem import Problem

Table = NDArray[np.float64]


def run_blocks(
    problem: Problem,
    plan: Plan,
    score: Callable[[Block], Sequence[Table]],
    num_scores: int,
    group: dist.ProcessGroup | None = None,
) -> Table:
    """Return the scores of all queries (num_scores,Q); columns of queries in no block stay zero.

    Args:
        problem: What the blocks belong to; prepared here once where the plan says so.
        plan: The blocks.
        score: The work on one block of B queries: `num_scores` arrays (B,); blocks do not depend on one another.
        num_scores: Number of scores.
        group: Processes that hold the same problem and share the blocks; None works alone.
    """
    rank, size = (0, 1) if group is None else (dist.get_rank(group), dist.get_world_size(group))
    if group is not None:
        plan = _agree(plan, group)
    mine = plan.blocks[rank::size]
    if plan.keep:
        for products in {block.products for block in mine}:
            problem.keep(np.float32 if products else np.float64)
    # one table from the start: small results kept between large temporaries would hold the allocator's memory
    table = np.zeros((num_scores, len(problem.layout.query_order)))

    def work(block: Block) -> None:
        for row, values in zip(table, score(block), strict=True):
            row[block.low : block.high] = values

    with threadpool_limits(1), ThreadPoolExecutor(plan.workers) as pool:  # one product per thread, not all on one
        list(pool.map(work, mine))
    if group is not None:
        _exchange(table, plan.blocks, group)
    return table


def _agree(plan: Plan, group: dist.ProcessGroup) -> Plan:
    """Return the first process's plan: processes with other numbers of threads would cut other blocks."""
    plans: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(plans, plan, group=group)
    first: Plan = plans[0]
    return first


def _exchange(table: Table, blocks: Sequence[Block], group: dist.ProcessGroup) -> None:
    """Fill in the columns that the other processes have worked out."""
    size = dist.get_world_size(group)
    columns = [[i for block in blocks[rank::size] for i in range(block.low, block.high)] for rank in range(size)]
    parts: list[Any] = [None] * size
    dist.all_gather_object(parts, table[:, columns[dist.get_rank(group)]], group=group)
    for at, part in zip(columns, parts, strict=True):
        table[:, at] = part
