"""Candidate neighbours by tiles of torch distances, on the CPU or CUDA: float32, to be refined."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from dml.neighbors.distances import Keys, MetricName
from dml.neighbors.exact import Rows

_TILE = 1 << 24  # distances held at once: 64 MiB


def search_tiles(
    query: Rows, reference: Rows, k: int, metric: MetricName, device: str
) -> tuple[Keys, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """Return float32 keys (squared under l2 and cosine) and positions (Q,k) of the k nearest references.

    Args:
        query: Rows (Q,D).
        reference: Rows (R,D), R ≥ k.
        k: Number of neighbours.
        metric: Which distance.
        device: A torch device.

    Example:
        >>> search_tiles(np.array([[0.0]]), np.array([[2.0], [1.0]]), 1, "l1", "cpu")[1]
        array([[1]])
    """
    with full_precision():
        return _search(query, reference, k, metric, device)


@contextmanager
def full_precision() -> Iterator[None]:
    """Round no matrix product to bfloat16 or TF32, whatever the user allows: the error bound would not hold."""
    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(allowed)


def _search(
    query: Rows, reference: Rows, k: int, metric: MetricName, device: str
) -> tuple[Keys, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    x = torch.as_tensor(reference, dtype=torch.float32, device=device)
    norms = x.square().sum(dim=1) if metric in ("l2", "cosine") else None
    rows = max(1, min(len(query), 1024, _TILE // len(x)))
    columns = max(k, _TILE // rows)
    parts = []
    for start in range(0, len(query), rows):
        q = torch.as_tensor(query[start : start + rows], dtype=torch.float32, device=device)
        best = torch.full((len(q), 0), 0.0, device=device), torch.zeros((len(q), 0), dtype=torch.int64, device=device)
        for left in range(0, len(x), columns):
            right = left + columns
            tile = _distances(q, x[left:right], metric, None if norms is None else norms[left:right])
            best = _merge(best, tile, left, k)
        parts.append((best[0].cpu(), best[1].cpu()))
    return torch.cat([p[0] for p in parts]).numpy(), torch.cat([p[1] for p in parts]).numpy()


def _distances(q: Tensor, x: Tensor, metric: MetricName, norms: Tensor | None) -> Tensor:
    if norms is None:
        return torch.cdist(q, x, p=1.0 if metric == "l1" else float("inf"))
    return torch.addmm(norms, q, x.T, alpha=-2).add_(q.square().sum(dim=1, keepdim=True))


def _merge(best: tuple[Tensor, Tensor], tile: Tensor, offset: int, k: int) -> tuple[Tensor, Tensor]:
    values, columns = tile.topk(min(k, tile.shape[1]), dim=1, largest=False)
    values = torch.cat([best[0], values], dim=1)
    columns = torch.cat([best[1], columns + offset], dim=1)
    values, order = values.topk(min(k, values.shape[1]), dim=1, largest=False)
    return values, columns.gather(1, order)
