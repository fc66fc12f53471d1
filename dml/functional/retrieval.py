"""Retrieval scores of queries from the ranks of their positives.

Equal distances are scored by their expectation: a tie group is taken to be in random order, and each function returns
the mean over all orders, in closed form.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Ranks(NamedTuple):
    """Where the positives of B queries stand, nearest first; rows with fewer than P positives are filled up.

    Args:
        closer: References strictly closer than each positive, int64 (B,P).
        tied: References exactly as far as each positive, itself included, int64 (B,P), ≥ 1.
        positives_closer: Positives among `closer`, int64 (B,P).
        positives_tied: Positives among `tied`, int64 (B,P), ≥ 1.
        num_positives: Positives R of each query, int64 (B,), ≥ 1; columns from there on are filling.
    """

    closer: Tensor
    tied: Tensor
    positives_closer: Tensor
    positives_tied: Tensor
    num_positives: Tensor


def rank_positives(distances: Tensor, count: Tensor, closer: Tensor, not_farther: Tensor) -> Ranks:
    """Build `Ranks` from the sorted distances of the positives and counts over all references.

    Args:
        distances: Distances of the positives, ascending along each row, filled up with infinity, (B,P).
        count: Number of positives of each query, int64 (B,).
        closer: References with a strictly smaller distance than each positive, int64 (B,P).
        not_farther: References with a smaller or equal distance, int64 (B,P).

    Example:
        >>> distances = torch.tensor([[1.0, 2.0, 2.0]])
        >>> ranks = rank_positives(distances, torch.tensor([3]), torch.tensor([[0, 4, 4]]), torch.tensor([[1, 7, 7]]))
        >>> ranks.positives_closer.tolist(), ranks.tied.tolist()
        ([[0, 1, 1]], [[1, 3, 3]])
    """
    place = torch.arange(distances.shape[1]).expand_as(distances)
    differs = distances[:, 1:] != distances[:, :-1]
    edge = torch.ones(len(distances), 1, dtype=torch.bool)
    first = torch.where(torch.cat([edge, differs], dim=1), place, 0).cummax(dim=1).values
    ends = torch.where(torch.cat([differs, edge], dim=1), place, distances.shape[1])
    last = ends.flip(1).cummin(dim=1).values.flip(1)
    return Ranks(closer, (not_farther - closer).clamp(min=1), first, last - first + 1, count)


def recall_at_k(ranks: Ranks, k: int) -> Tensor:
    """Return the chance (B,) that at least one positive is among the k nearest.

    With the nearest positive in a tie group of t references, p of them positive, behind n closer ones, and m = k − n
    places left, it is 1 − C(t−p, m)/C(t, m).

    Example:
        >>> one = torch.ones(1, 1, dtype=torch.int64)
        >>> recall_at_k(Ranks(one - 1, one * 4, one - 1, one, one[0]), 2)  # one positive among four tied, two places
        tensor([0.5000], dtype=torch.float64)
    """
    closer, tied, positives = ranks.closer[:, 0], ranks.tied[:, 0], ranks.positives_tied[:, 0]
    places = _clip(k - closer, tied)
    missed = torch.ones(len(closer), dtype=torch.float64)
    for i in range(min(k, int(places.max()))):
        factor = (tied - positives - i).clamp(min=0) / (tied - i).clamp(min=1).double()
        missed = torch.where(places > i, missed * factor, missed)
    return 1 - missed


def precision_at_k(ranks: Ranks, k: int | Tensor) -> Tensor:
    """Return the expected share (B,) of positives among the k nearest; k may differ by query, (B,)."""
    at = torch.as_tensor(k).expand(len(ranks.num_positives))
    last = max(1, int((ranks.closer < at[:, None]).sum(dim=1).max()))  # further positives lie beyond every query's k
    closer, tied = ranks.closer[:, :last], ranks.tied[:, :last]
    inside = _clip(at[:, None] - closer, tied) / tied.double()
    return _row_sum(inside, ranks.num_positives) / at


def r_precision(ranks: Ranks) -> Tensor:
    """Return the expected share (B,) of positives among the R nearest, R being the query's number of positives."""
    return precision_at_k(ranks, ranks.num_positives)


def map_at_r(ranks: Ranks) -> Tensor:
    """Return the expected MAP@R (B,): (1/R) Σ over positives at rank i ≤ R of precision@i.

    Source: Musgrave, Belongie, Lim, "A Metric Learning Reality Check" (2020).
    """
    places = _clip(ranks.num_positives[:, None] - ranks.closer, ranks.tied)
    return _row_sum(_precision_at_own_rank(ranks, places), ranks.num_positives) / ranks.num_positives


def average_precision(ranks: Ranks) -> Tensor:
    """Return the expected average precision (B,): the mean over all positives of the precision at their rank."""
    return _row_sum(_precision_at_own_rank(ranks, ranks.tied), ranks.num_positives) / ranks.num_positives


def reciprocal_rank(ranks: Ranks) -> Tensor:
    """Return the expected 1/rank (B,) of the nearest positive."""
    groups = torch.stack([ranks.closer[:, 0], ranks.tied[:, 0], ranks.positives_tied[:, 0]], dim=1)  # (B, 3)
    result = 1 / (groups[:, 0] + 1).double()
    in_tie = groups[:, 1] > groups[:, 2]  # if all tied ones are positive, the first of them is
    if in_tie.any():
        unique, inverse = groups[in_tie].unique(dim=0, return_inverse=True)
        result[in_tie] = torch.stack([_first_of_tie(*group) for group in unique.tolist()])[inverse]
    return result


def ndcg(ranks: Ranks) -> Tensor:
    """Return the expected nDCG (B,) over the whole ranking with gains 0 and 1 and discount 1/log2(rank + 1)."""
    last = int(torch.maximum((ranks.closer + ranks.tied).max(), ranks.num_positives.max()))
    discounts = 1 / torch.arange(2, last + 2, dtype=torch.float64).log2()
    table = torch.cat([torch.zeros(1, dtype=torch.float64), discounts.cumsum(0)])  # (last + 1,)
    gains = discounts[ranks.closer]
    tie = ranks.tied > 1
    closer, tied = ranks.closer[tie], ranks.tied[tie]
    gains[tie] = (table[closer + tied] - table[closer]) / tied
    return _row_sum(gains, ranks.num_positives) / table[ranks.num_positives]


def _precision_at_own_rank(ranks: Ranks, places: Tensor) -> Tensor:
    """Return (B,P): a positive's expected precision at its rank, over the first `places` of its tie group only."""
    result = places * (ranks.positives_closer + 1) / (ranks.closer + 1).double()
    tie = ranks.tied > 1
    if tie.any():
        n, t, p0, p = (part[tie] for part in ranks[:4])
        result[tie] = _precision_in_tie(n, t, p0, p, places[tie])
    return result


def _precision_in_tie(n: Tensor, t: Tensor, p0: Tensor, p: Tensor, places: Tensor) -> Tensor:
    """Return the sum over j ≤ places of (p0 + 1 + (j−1)(p−1)/(t−1)) / (n + j), divided by t; all arguments (ties,).

    With j its place among the t tied, p of them positive, that is a positive's precision behind n references, p0
    positive.
    """
    harmonic = torch.zeros(int((n + t).max()) + 1 if len(n) else 1, dtype=torch.float64)
    harmonic[1:] = (1 / torch.arange(1, len(harmonic), dtype=torch.float64)).cumsum(0)
    inverse = harmonic[n + places] - harmonic[n]  # Σ 1/(n+j)
    offset = places - (n + 1) * inverse  # Σ (j−1)/(n+j)
    mixed = ((p0 + 1) * inverse + (p - 1) / (t - 1).double() * offset) / t
    return torch.where((n == p0) & (t == p), places / t.double(), mixed)  # all positive: precision 1 in any order


def _first_of_tie(closer: int, tied: int, positives: int) -> Tensor:
    """Return E[1/(closer + J)], J the place of the first of `positives` among `tied` in random order."""
    place = torch.arange(1, tied - positives + 2, dtype=torch.float64)
    not_yet = ((tied - positives - place + 1) / (tied - place + 1)).cumprod(0)  # P(J > place)
    before = torch.cat([torch.ones(1, dtype=torch.float64), not_yet[:-1]])
    return ((before - not_yet) / (closer + place)).sum()


def _clip(places: Tensor, tied: Tensor) -> Tensor:
    return torch.minimum(places.clamp(min=0), tied)


def _row_sum(values: Tensor, count: Tensor) -> Tensor:
    """Sum the first `count` of each row one after the other, so that the filling never changes a bit of the result."""
    filled = torch.arange(values.shape[1]) < count[:, None]
    return torch.where(filled, values, 0.0).cumsum(dim=1)[:, -1]
