"""Counts and sums how thresholds and distances exceed each other, row by row, by sorting."""

from collections.abc import Iterator
from functools import reduce

import torch
from torch import Tensor

DIRECT_UP_TO = 3  # thresholds per row up to which comparing with each is faster than sorting (CPU)
BLOCK_ENTRIES = 2**18  # comparisons held at a time


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
        above it; whole numbers in the distances' dtype.

    Example:
        >>> thresholds, distances = torch.tensor([[2.0, 5.0]]), torch.tensor([[1.0, 2.0, 9.0]])
        >>> [counts.tolist() for counts in counts_below(thresholds, distances)]
        [[[1.0, 2.0]], [[2.0, 1.0, 0.0]]]
    """
    if thresholds.shape[1] > DIRECT_UP_TO:
        order, place, gaps = _sorted_gaps(thresholds, distances, strict)
        below = gaps.cumsum(dim=1).to(distances.dtype)
        above = place.to(distances.dtype).neg_().add_(thresholds.shape[1])
        return torch.zeros_like(below).scatter_(1, order, below), above
    compare = torch.gt if strict else torch.ge
    blocks = (compare(block, distances[:, None]).to(distances.dtype) for block in _blocks(thresholds, distances))
    return _sum_both_ways(blocks)


def excess_below(thresholds: Tensor, distances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sum, per row, by how much thresholds exceed distances: max(0, t − d) over the other side.

    As `counts_below`, with sums beside the counts: c·t − Σ d over the c distances below t, and Σ t − c·d over the c
    thresholds above d. The differences keep the digits they need in float64.

    Args:
        thresholds: (A,P); −inf takes no part.
        distances: (A,B); +inf takes no part.

    Returns:
        (A,P), each threshold's excess over all distances; (A,B), all thresholds' excess over each distance; the number
        of pairs with a positive excess.

    Example:
        >>> thresholds, distances = torch.tensor([[2.0, 5.0]]), torch.tensor([[1.0, 2.0, 9.0]])
        >>> [excess.tolist() for excess in excess_below(thresholds, distances)]
        [[[1.0, 7.0]], [[5.0, 3.0, 0.0]], 3.0]
    """
    if thresholds.shape[1] > DIRECT_UP_TO:
        return _excess_sorted(thresholds, distances)
    blocks = ((block - distances[:, None]).clamp_(min=0) for block in _blocks(thresholds, distances))
    return *_sum_both_ways(blocks), counts_below(thresholds, distances)[0].sum()


def _blocks(thresholds: Tensor, distances: Tensor) -> Iterator[Tensor]:
    """Yield some thresholds of every row at a time, (A,S,1), to set against all distances."""
    step = max(1, BLOCK_ENTRIES // max(1, distances.numel()))
    yield from thresholds[:, :, None].split(step, dim=1)


def _sum_both_ways(blocks: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """Sum blocks (A,S,B), which make up (A,P,B), over B and over P."""
    per_threshold, per_distance = zip(*((block.sum(dim=2), block.sum(dim=1)) for block in blocks), strict=True)
    return torch.cat(per_threshold, dim=1), reduce(torch.add, per_distance)


def _excess_sorted(thresholds: Tensor, distances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    order, place, gaps = _sorted_gaps(thresholds, distances, strict=True)
    below = gaps.cumsum(dim=1).to(distances.dtype)  # (A,P)
    finite = distances.masked_fill(distances == torch.inf, 0.0)
    sums = torch.zeros_like(distances[:, :1]).expand(-1, thresholds.shape[1] + 1).scatter_add(1, place, finite)
    ordered = thresholds.masked_fill(thresholds == -torch.inf, 0.0).gather(1, order)
    excess = below * ordered - sums[:, :-1].cumsum(dim=1)
    tails = torch.nn.functional.pad(ordered.flip(1).cumsum(dim=1).flip(1), (0, 1))  # (A,P+1): thresholds from here on
    above = thresholds.shape[1] - place
    per_distance = tails.gather(1, place) - above * finite
    return torch.zeros_like(excess).scatter_(1, order, excess), per_distance, below.sum()


def _sorted_gaps(thresholds: Tensor, distances: Tensor, strict: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the thresholds' order (A,P), each distance's place in it (A,B) and how many fall before each (A,P)."""
    ordered, order = thresholds.sort(dim=1)
    place = torch.searchsorted(ordered, distances, right=strict)  # (A,B): thresholds that do not exceed it
    gaps = place.new_zeros(len(thresholds), thresholds.shape[1] + 1)
    gaps.scatter_add_(1, place, torch.ones_like(place[:, :1]).expand_as(place))
    return order, place, gaps[:, :-1]
