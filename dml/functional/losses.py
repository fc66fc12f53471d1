"""The metric losses as pure functions of embeddings and labels, exact at any batch size; they keep no state."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from dml.errors import UserError
from dml.functional.pairwise import Reduction, Term, check_labels, reduced, reduction_factors, sum_over_anchors
from dml.functional.triplets import Positives, counts_below, positives_of

Mining = Literal["all", "semihard", "hard"]


def pull_loss(
    embeddings: Tensor, labels: Tensor, reduction: Reduction = "mean", num_anchors: int | None = None
) -> Tensor:
    """Return the squared distances of same-label pairs: Σ d²_ij over i ≠ j with equal labels, reduced.

    Args:
        embeddings: (B,D).
        labels: (B,).
        reduction: `mean` over those ordered pairs, `mean_nonzero` over those with d² > 0, `sum`, or `mean_all`: divided
            by B².
        num_anchors: Only the first so many embeddings are anchors (i); None: all.

    Returns:
        Scalar ≥ 0; 0 with gradient 0 where there is no pair; NaN where an embedding is not finite.

    Raises:
        UserError: Shapes do not fit, or the reduction is unknown.

    Example:
        >>> pull_loss(torch.tensor([[0.0], [2.0], [9.0]]), torch.tensor([0, 0, 1]))
        tensor(4.)
    """
    check_labels(embeddings, labels)
    num_anchors = len(labels) if num_anchors is None else num_anchors

    def kernel(distances: Tensor, rows: slice) -> Sequence[Term]:
        same = labels[rows, None] == labels
        return [_term(torch.where(same, distances, 0.0), same.to(distances.dtype))]

    sums = sum_over_anchors(embeddings, kernel, num_anchors, squared=True)
    valid = count_pairs(labels, num_anchors)[:1]
    return reduced(embeddings, sums, reduction_factors(reduction, valid, sums.active, num_anchors * len(labels)))


def contrastive_loss(
    embeddings: Tensor,
    labels: Tensor,
    pos_margin: float,
    neg_margin: float,
    neg_weight: float = 1.0,
    reduction: Reduction = "mean",
    num_anchors: int | None = None,
) -> Tensor:
    """Return the contrastive loss with two margins on squared distances.

    L = R₊[max(0, d²_ij − pos_margin)] + neg_weight · R₋[max(0, neg_margin − d²_ij)], the first over the ordered pairs i
    ≠ j with equal labels, the second over those with different labels; each is reduced over its own pairs.

    Args:
        embeddings: (B,D).
        labels: (B,).
        pos_margin: Squared distance up to which same-label pairs cost nothing, ≥ 0.
        neg_margin: Squared distance from which other pairs cost nothing.
        neg_weight: Weight of the second term, ≥ 0.
        reduction: `mean` over pairs, `mean_nonzero` over those with a positive hinge, `sum`, or `mean_all`: divided by
            B².
        num_anchors: Only the first so many embeddings are anchors (i); None: all.

    Returns:
        Scalar ≥ 0; a term without pairs is 0 with gradient 0; NaN where an embedding is not finite.

    Raises:
        UserError: Shapes do not fit, or the reduction is unknown.

    Example:
        >>> embeddings, labels = torch.tensor([[0.0], [2.0], [1.0]]), torch.tensor([0, 0, 1])
        >>> contrastive_loss(embeddings, labels, pos_margin=1.0, neg_margin=3.0, neg_weight=0.5)
        tensor(4.)
    """
    check_labels(embeddings, labels)
    num_anchors = len(labels) if num_anchors is None else num_anchors

    def kernel(distances: Tensor, rows: slice) -> Sequence[Term]:
        same = labels[rows, None] == labels
        same[:, rows].fill_diagonal_(True)
        far = torch.where(same, distances - pos_margin, 0.0).clamp_(min=0)
        far[:, rows].fill_diagonal_(0.0)
        near = torch.where(same, 0.0, neg_margin - distances).clamp_(min=0)
        return [_term(far, (far > 0).to(far.dtype)), _term(near, -(near > 0).to(near.dtype))]

    sums = sum_over_anchors(embeddings, kernel, num_anchors, squared=True)
    valid = count_pairs(labels, num_anchors)
    factors = reduction_factors(reduction, valid, sums.active, num_anchors * len(labels))
    return reduced(embeddings, sums, factors * factors.new_tensor([1.0, neg_weight]))


def triplet_loss(
    embeddings: Tensor,
    labels: Tensor,
    margin: float,
    mining: Mining = "all",
    squared: bool = True,
    reduction: Reduction = "mean",
    include_self: bool = False,
    num_anchors: int | None = None,
) -> Tensor:
    """Return the triplet loss: max(0, d_ap − d_an + margin) over all triplets of the batch or the mined ones, exactly.

    No triplet is listed. The sum is linear in the distances with whole-number weights: each positive counts the
    negatives below d_ap + margin, each negative the positives above d_an − margin, and both counts come from sorting
    the positives alone. O(B² log P) time for P positives per anchor and O(B) memory beside a few rows of the distance
    matrix.

    Args:
        embeddings: (B,D).
        labels: (B,).
        margin: In units of d² or d, as `squared` says.
        mining: `all`: every (a,p,n) with p ≠ a of a's label and n of another; `semihard`: of these, all with
            d_ap < d_an < d_ap + margin; `hard`: per anchor its farthest positive with its nearest negative (of equals
            the first).
        squared: Whether distances are squared Euclidean; else Euclidean, whose gradient at distance 0 is taken as 0.
        reduction: `mean` over all valid (`semihard`, `hard`: mined) triplets, `mean_nonzero` over those with a positive
            hinge, `sum`, or `mean_all`: divided by B³.
        include_self: Whether p = a, at distance 0, is a positive too.
        num_anchors: Only the first so many embeddings are anchors; None: all.

    Returns:
        Scalar ≥ 0; 0 with gradient 0 where there is no triplet; NaN where an embedding is not finite.

    Raises:
        UserError: Shapes do not fit, or `mining` or `reduction` is unknown.

    Source:
        Schroff et al., "FaceNet" (2015); Hermans et al., "In Defense of the Triplet Loss" (2017).

    Example:
        >>> embeddings, labels = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 0, 1])
        >>> triplet_loss(embeddings, labels, margin=1.0)  # a=0: max(0, 1 − 4 + 1), a=1: max(0, 1 − 1 + 1)
        tensor(0.5000)
    """
    check_labels(embeddings, labels)
    if mining not in get_args(Mining):
        raise UserError(f"no mining {mining!r}: choose one of {', '.join(get_args(Mining))}")
    num_anchors = len(labels) if num_anchors is None else num_anchors
    positives = positives_of(labels, num_anchors, include_self)

    def kernel(distances: Tensor, rows: slice) -> Sequence[Term]:
        mine = {"all": _all_weights, "semihard": _semihard_weights, "hard": _hard_weights}[mining]
        partners = Positives(positives.members[rows], positives.valid[rows])
        pulls, pushes = mine(distances, labels[rows, None] == labels, partners, margin)
        active = pulls.sum()
        weights = (-pushes).to(distances.dtype).scatter_add_(1, partners.members, pulls.to(distances.dtype))
        return [Term((weights * distances).sum() + margin * active, active, weights)]

    sums = sum_over_anchors(embeddings, kernel, num_anchors, squared)
    num_negatives = len(labels) - (labels[:num_anchors, None] == labels).sum(dim=1)
    num_positives = positives.valid.sum(dim=1)
    valid = {
        "all": (num_positives * num_negatives).sum()[None],
        "semihard": sums.active,
        "hard": ((num_positives > 0) & (num_negatives > 0)).sum()[None],
    }[mining]
    return reduced(
        embeddings, sums, reduction_factors(reduction, valid, sums.active, num_anchors * len(labels) * len(labels))
    )


def count_pairs(labels: Tensor, num_anchors: int) -> Tensor:
    """Return how many ordered pairs i ≠ j have equal labels and how many have different ones, as (2,).

    Example:
        >>> count_pairs(torch.tensor([0, 0, 1]), num_anchors=3).tolist()
        [2, 4]
    """
    _, classes, sizes = labels.unique(return_inverse=True, return_counts=True)
    same = sizes[classes[:num_anchors]].sum()
    return torch.stack([same - num_anchors, num_anchors * len(labels) - same])


def _term(losses: Tensor, weights: Tensor) -> Term:
    return Term(losses.sum(), (losses > 0).sum(), weights)


def _all_weights(distances: Tensor, same: Tensor, positives: Positives, margin: float) -> tuple[Tensor, Tensor]:
    thresholds = distances.gather(1, positives.members).add_(margin).masked_fill_(~positives.valid, -torch.inf)
    return counts_below(thresholds, distances.masked_fill(same, torch.inf))


def _semihard_weights(distances: Tensor, same: Tensor, positives: Positives, margin: float) -> tuple[Tensor, Tensor]:
    near = distances.gather(1, positives.members).masked_fill_(~positives.valid, -torch.inf)
    negatives = distances.masked_fill(same, torch.inf)
    within, beyond = counts_below(near + margin, negatives), counts_below(near, negatives, strict=False)
    return within[0] - beyond[0], within[1] - beyond[1]


def _hard_weights(distances: Tensor, same: Tensor, positives: Positives, margin: float) -> tuple[Tensor, Tensor]:
    near = distances.gather(1, positives.members).masked_fill_(~positives.valid, -torch.inf)
    negatives = distances.masked_fill(same, torch.inf)
    farthest, slot = near.max(dim=1, keepdim=True)
    nearest, place = negatives.min(dim=1, keepdim=True)
    active = (farthest - nearest + margin > 0).long()  # False where there is no positive or no negative
    pulls = torch.zeros_like(positives.members).scatter_(1, slot, active)
    return pulls, torch.zeros_like(distances, dtype=torch.int64).scatter_(1, place, active)
