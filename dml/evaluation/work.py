"""Works through independent blocks on several threads, and on several processes; it does not know what a block does."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch.distributed as dist
from threadpoolctl import threadpool_limits

from dml.evaluation.plan import Block, Plan
from dml.evaluation.problem import Problem

Result = TypeVar("Result")


def run_blocks(
    problem: Problem, plan: Plan, score: Callable[[Block], Result], group: dist.ProcessGroup | None = None
) -> list[Result]:
    """Return the result of every block, in order.

    Args:
        problem: What the blocks belong to; prepared here once where the plan says so.
        plan: The blocks.
        score: The work on one block; blocks do not depend on one another.
        group: Processes that hold the same problem and share the blocks; None works alone.
    """
    rank, size = (0, 1) if group is None else (dist.get_rank(group), dist.get_world_size(group))
    mine = plan.blocks[rank::size]
    if plan.keep:
        for products in {block.products for block in mine}:
            problem.keep(np.float32 if products else np.float64)
    with threadpool_limits(1), ThreadPoolExecutor(plan.workers) as pool:  # one product per thread, not all on one
        results = list(pool.map(score, mine))
    return results if group is None else _exchange(results, len(plan.blocks), group)


def _exchange(results: Sequence[Result], total: int, group: dist.ProcessGroup) -> list[Result]:
    """Return all processes' results in the order of their blocks."""
    size = dist.get_world_size(group)
    gathered: list[Any] = [None] * size
    dist.all_gather_object(gathered, results, group=group)
    return [gathered[i % size][i // size] for i in range(total)]
