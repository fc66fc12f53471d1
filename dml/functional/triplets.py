"""Which triplets a batch holds and which of them are active, counted without listing them; it forms no gradients."""

from typing import NamedTuple

import torch
from torch import Tensor

DIRECT_UP_TO = 16  # positives per anchor up to which comparing with each is faster than sorting (2 CPU cores)


class Positives(NamedTuple):
    """The same-label partners of every anchor, padded to the largest class."""

    members: Tensor  # (A,P), positions in the batch; padding points anywhere
    valid: Tensor  # (A,P), False at padding


def positives_of(labels: Tensor, num_anchors: int, include_self: bool) -> Positives:
    """Return each anchor's positives.

    Args:
        labels: (B,).
        num_anchors: The first so many are anchors.
        include_self: Whether an anchor is its own positive too.

    Example:
        >>> index, valid = positives_of(torch.tensor([7, 5, 7]), num_anchors=3, include_self=False)
        >>> [row[kept].tolist() for row, kept in zip(index, valid)]
        [[2], [], [0]]
    """
    _, classes, sizes = labels.unique(return_inverse=True, return_counts=True)
    members = classes.argsort(stable=True)  # (B,), class after class
    anchors = classes[:num_anchors]
    slots = torch.arange(int(sizes.max()), device=labels.device)
    starts = (sizes.cumsum(dim=0) - sizes)[anchors, None]
    index = members[(starts + slots).clamp(max=len(labels) - 1)]  # (A,P)
    valid = slots < sizes[anchors, None]
    if not include_self:
        valid &= index != torch.arange(num_anchors, device=labels.device)[:, None]
    return Positives(members=index, valid=valid)


def counts_below(thresholds: Tensor, distances: Tensor, strict: bool = True) -> tuple[Tensor, Tensor]:
    """Count, per row, which thresholds exceed which distances.

    Few thresholds are compared one by one. Many are sorted once: a distance finds its place among them by binary
    search, and the running sum of how many distances fall into each gap counts for the thresholds, in O(B log P) per
    row.

    Args:
        thresholds: (A,P); −inf takes no part.
        distances: (A,B); +inf takes no part.
        strict: Whether an equal threshold does not count as exceeding.

    Returns:
        (A,P), for each threshold the number of distances below it; (A,B), for each distance the number of thresholds
        above it.

    Example:
        >>> per_threshold, per_distance = counts_below(torch.tensor([[2.0, 5.0]]), torch.tensor([[1.0, 2.0, 9.0]]))
        >>> per_threshold.tolist(), per_distance.tolist()
        ([[1, 2]], [[2, 1, 0]])
    """
    direct = thresholds.shape[1] <= DIRECT_UP_TO
    return (_counts_direct if direct else _counts_sorted)(thresholds, distances, strict)


def _counts_direct(thresholds: Tensor, distances: Tensor, strict: bool) -> tuple[Tensor, Tensor]:
    per_threshold = torch.zeros_like(thresholds, dtype=torch.int64)
    per_distance = torch.zeros_like(distances, dtype=torch.int64)
    for slot, threshold in enumerate(thresholds.unbind(dim=1)):
        above = threshold[:, None] > distances if strict else threshold[:, None] >= distances
        per_threshold[:, slot] = above.sum(dim=1)
        per_distance += above
    return per_threshold, per_distance


def _counts_sorted(thresholds: Tensor, distances: Tensor, strict: bool) -> tuple[Tensor, Tensor]:
    ordered, order = thresholds.sort(dim=1)
    place = torch.searchsorted(ordered, distances, right=strict)  # (A,B): thresholds that do not exceed it
    num_thresholds = thresholds.shape[1]
    gaps = place.new_zeros(len(thresholds), num_thresholds + 1)
    gaps.scatter_add_(1, place, torch.ones_like(place))
    below = gaps[:, :num_thresholds].cumsum(dim=1)
    return torch.zeros_like(below).scatter_(1, order, below), num_thresholds - place
