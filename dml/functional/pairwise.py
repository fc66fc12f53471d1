"""Sums of a function of all pairwise distances, and their gradients, chunked over anchors."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dml.errors import UserError
from dml.functional.distances import distances_of_centred, wide
from dml.ranges import check_choice

Reduction = Literal["mean", "mean_nonzero", "sum", "mean_all"]
_REDUCTIONS = get_args(Reduction)
CHUNK_ENTRIES = 2**19  # distances held at a time on a processor: 4 MiB in float64
DEVICE_CHUNK_ENTRIES = 2**25  # and on an accelerator, which needs more to be busy: 256 MiB


class Term(NamedTuple):
    """A sum over some rows of the distance matrix: a loss's share from the distances (A,B) of A anchors."""

    value: Tensor  # scalar, the sum over its tuples
    active: Tensor  # scalar, how many of its tuples are above 0
    weights: Tensor  # (A,B), the derivative of the sum by each distance


class Sums(NamedTuple):
    """K terms summed over all anchors."""

    values: Tensor  # (K,)
    active: Tensor  # (K,)
    gradients: Tensor  # (K,B,D), by the embeddings


Kernel = Callable[[Tensor, slice], Sequence[Term]]


@torch.no_grad()
def sum_over_anchors(embeddings: Tensor, kernel: Kernel, num_anchors: int, squared: bool) -> Sums:
    """Sum a kernel's terms over all anchors, holding a few rows of the distance matrix at a time.

    The gradient is formed beside the value, so that nothing of size B² outlives its chunk: with w_ij the derivative by
    d²_ij, ∂/∂e_i = 2·Σ_j (w_ij + w_ji)(e_i − e_j).

    Args:
        embeddings: (B,D).
        kernel: Maps the distances (A,B) of the anchors in a slice to its K terms.
        num_anchors: The first so many embeddings are anchors, 1..B.
        squared: Whether the kernel takes d² or d; the derivative of d at 0 is taken as 0.

    Example:
        >>> total = lambda distances, rows: [Term(distances.sum(), (distances > 0).sum(), torch.ones_like(distances))]
        >>> sums = sum_over_anchors(torch.tensor([[0.0], [3.0]]), total, num_anchors=2, squared=True)
        >>> sums.values.tolist(), sums.active.tolist(), sums.gradients.tolist()
        ([18.0], [2.0], [[[-12.0], [12.0]]])
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        points = wide(embeddings)
        points = points - points.mean(dim=0)
        norms = points.square().sum(dim=1)
        entries = CHUNK_ENTRIES if points.device.type == "cpu" else DEVICE_CHUNK_ENTRIES
        step = max(1, entries // len(points))
        chunks = [slice(start, min(start + step, num_anchors)) for start in range(0, num_anchors, step)]
        sums = _chunk_sums(points, norms, kernel, chunks[0], squared)
        for rows in chunks[1:]:
            more = _chunk_sums(points, norms, kernel, rows, squared)
            sums = Sums(*(total.add_(part) for total, part in zip(sums, more, strict=True)))
        sums.values.add_(norms.sum(), alpha=0)  # 0·NaN: embeddings that are not finite must not pass for a loss of 0
        return sums


def _chunk_sums(points: Tensor, norms: Tensor, kernel: Kernel, rows: slice, squared: bool) -> Sums:
    distances = distances_of_centred(points[rows], points, norms[rows], norms)  # (A,B)
    distances[:, rows].fill_diagonal_(0.0)
    if not squared:
        distances = distances.sqrt_()
    terms = kernel(distances, rows)
    weights = [term.weights if squared else _by_square(term.weights, distances) for term in terms]
    values = torch.stack([term.value.to(points.dtype) for term in terms])
    active = torch.stack([term.active.to(points.dtype) for term in terms])
    return Sums(values, active, torch.stack([_gradient(each, points, rows) for each in weights]))


def _gradient(weights: Tensor, points: Tensor, rows: slice) -> Tensor:
    """Return 2·Σ_j (w_ij + w_ji)(x_i − x_j) for every i, as (B,D), where only the rows (A,B) of w are not 0."""
    if len(weights) == len(points):
        weights = weights + weights.T
        return torch.addmm(weights.sum(dim=1, keepdim=True) * points, weights, points, alpha=-1).mul_(2)
    gradient = torch.addmm(weights.sum(dim=0)[:, None] * points, weights.T, points[rows], alpha=-1)
    gradient[rows] += weights.sum(dim=1, keepdim=True) * points[rows] - weights @ points
    return gradient.mul_(2)


def _by_square(weights: Tensor, distances: Tensor) -> Tensor:
    """Turn derivatives by d into derivatives by d²; 0 where d = 0."""
    return torch.where(distances > 0, weights / (2 * distances), 0.0)


def fake_sums(embeddings: Tensor, terms: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return empty tensors of the shapes that an operator summing K terms gives, for `torch.compile` to trace with.

    Example:
        >>> [tuple(part.shape) for part in fake_sums(torch.zeros(5, 3), terms=2)]
        [(2,), (2,), (2,), (2, 5, 3)]
    """
    like = wide(embeddings)
    values, active, valid = (like.new_empty(terms) for _ in range(3))
    return values, active, valid, like.new_empty(terms, *embeddings.shape)


def with_gradient(embeddings: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    """Return a value whose gradient is known already as a scalar to call backward on, in float32 or float64.

    Args:
        embeddings: (B,D), what the value was made from.
        value: Scalar.
        gradient: (B,D).

    Example:
        >>> embeddings = torch.zeros(2, 1, requires_grad=True)
        >>> with_gradient(embeddings, torch.tensor(3.0), torch.ones(2, 1)).backward()
        >>> embeddings.grad.tolist()
        [[1.0], [1.0]]
    """
    result: Tensor = _WithGradient.apply(embeddings, value, gradient)
    return result


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        ctx.dtype = embeddings.dtype
        return value.to(torch.promote_types(embeddings.dtype, torch.float32))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return (outer * gradient).to(ctx.dtype), None, None  # rounded last: outer may be a scaler's 65,536


def reduction_factors(reduction: Reduction, valid: Tensor, active: Tensor, everything: int) -> Tensor:
    """Return what each of K sums is multiplied by; a mean over nothing is 0.

    Args:
        reduction: `mean` over valid tuples, `mean_nonzero` over those above 0, `sum`, or `mean_all` over B² or B³.
        valid: (K,), how many tuples are valid.
        active: (K,), how many are above 0.
        everything: B² for pairs, B³ for triplets.

    Raises:
        UserError: The reduction is unknown.

    Example:
        >>> reduction_factors("mean", torch.tensor([4.0, 0.0]), torch.tensor([1.0, 0.0]), 16).tolist()
        [0.25, 1.0]
    """
    check_choice("reduction", reduction, _REDUCTIONS)
    if reduction == "sum":
        return torch.ones_like(active)
    if reduction == "mean_all":
        return torch.full_like(active, 1 / everything)
    return (valid if reduction == "mean" else active).clamp(min=1).reciprocal()


def check_labels(embeddings: Tensor, labels: Tensor) -> None:
    """Refuse labels that do not fit the embeddings.

    Raises:
        UserError: Embeddings are not (B,D) with B ≥ 1, or labels not (B,).

    Example:
        >>> check_labels(torch.zeros(4, 2), torch.zeros(3))
        Traceback (most recent call last):
        ...
        dml.errors.UserError: embeddings (4, 2) and labels (3,) do not fit: give (B,D) and (B,) with B of at least 1
    """
    if embeddings.ndim != 2 or not len(embeddings) or labels.shape != embeddings.shape[:1]:
        shapes = f"embeddings {tuple(embeddings.shape)} and labels {tuple(labels.shape)}"
        raise UserError(f"{shapes} do not fit: give (B,D) and (B,) with B of at least 1")
