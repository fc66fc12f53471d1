"""Gathers the rows of all processes, with or without gradient; outside a process group, just this process's rows."""

from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

Group = distributed.ProcessGroup | None


def world_size(group: Group = None) -> int:
    """Return the number of processes that train together, 1 outside a process group.

    Args:
        group: Some of the processes; None: all.

    Example:
        >>> world_size()
        1
    """
    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size(group) if together else 1


def rank() -> int:
    """Return this process's number among those that train together, 0 outside a process group.

    Example:
        >>> rank()
        0
    """
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def gather_rows(rows: Tensor, group: Group = None) -> Tensor:
    """Return the rows of all processes in the order of their ranks, the same on every rank; without gradient.

    Args:
        rows: (n,…); n may differ between ranks (0 too), the other sizes and the dtype may not.
        group: Some of the processes; None: all.

    Returns:
        (Σn,…).

    Example:
        >>> gather_rows(torch.tensor([3, 1])).tolist()
        [3, 1]
    """
    return rows.detach() if world_size(group) == 1 else _gather(rows.detach(), group)[0]


def gather_with_gradient(rows: Tensor) -> Tensor:
    """Return the rows of all processes in the order of their ranks; the gradient flows back to each row's own process.

    Backward sums what all ranks send back to a row. When every rank computes the same loss of the whole batch, a row
    gets the number of ranks times its gradient, and the averaging of gradients over ranks (DistributedDataParallel,
    FSDP) takes that factor off again: the weights get exactly the gradient that one process with the whole batch would
    compute, even if ranks hold different numbers of rows. Weights of the loss itself have the same gradient on all
    ranks, which averaging does not change.

    Args:
        rows: (n,…); n may differ between ranks (0 too), the other sizes and the dtype may not.

    Returns:
        (Σn,…).

    Example:
        >>> rows = torch.ones(2, 3, requires_grad=True)
        >>> gather_with_gradient(rows) is rows
        True
    """
    gathered: Tensor = rows if world_size() == 1 else _GatherWithGradient.apply(rows)
    return gathered


def batch_order(size: int) -> Tensor | slice:
    """Return the batch's own order for the gathered rows of a batch that was dealt to the processes in turn.

    Args:
        size: B, rows of all processes; they had every ranks-th of them.

    Returns:
        An index (B,) of the gathered rows; outside a process group all of them, as they are.

    Example:
        >>> torch.tensor([7, 8])[batch_order(2)]
        tensor([7, 8])
    """
    ranks = world_size()
    if ranks == 1:
        return slice(None)
    gathered = torch.cat([torch.arange(start, size, ranks) for start in range(ranks)])
    return gathered.argsort()


def share_weight(size: int, device: torch.device) -> float:
    """Return the factor for the mean over a process's own rows, so that the mean over processes is that of all rows.

    Args:
        size: Rows of this process.
        device: Where the processes exchange tensors.

    Example:
        >>> share_weight(5, torch.device("cpu"))
        1.0
    """
    if world_size() == 1:
        return 1.0
    total = int(gather_rows(torch.tensor([size], device=device)).sum())
    return size * world_size() / total


def sum_with_gradient(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, the same on every rank; backward sums the gradients likewise.

    Args:
        values: Of the same shape on every rank.

    Example:
        >>> sum_with_gradient(torch.tensor([1.0, 2.0])).tolist()
        [1.0, 2.0]
    """
    total: Tensor = values if world_size() == 1 else _SumWithGradient.apply(values)
    return total


class _SumWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


class _GatherWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        gathered, ctx.sizes = _gather(rows)
        return gathered

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        own: Tensor = total.split(ctx.sizes)[distributed.get_rank()]
        return own


def _gather(rows: Tensor, group: Group = None) -> tuple[Tensor, list[int]]:
    """Return all ranks' rows and how many each has; shorter ones travel padded."""
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(world_size(group))]
    distributed.all_gather(counts, counts[0].new_tensor([len(rows)]), group=group)
    sizes = [int(count) for count in counts]
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(parts, padded, group=group)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)]), sizes
