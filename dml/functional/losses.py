"""The metric losses as pure functions of embeddings and labels, exact at any batch size."""

from collections.abc import Sequence
from typing import get_args

from torch import Tensor

from dml.functional.pairs import pair_sums
from dml.functional.pairwise import Reduction, check_labels, reduction_factors, with_gradient
from dml.functional.triplets import Mining, Penalty, triplet_sums
from dml.ranges import check_choice

_MININGS, _PENALTIES = get_args(Mining), get_args(Penalty)  # outside: torch.compile cannot look into types


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
        Scalar ≥ 0; 0 with gradient 0 if there is no pair; NaN if an embedding is not finite.

    Raises:
        UserError: Shapes do not fit, or the reduction is unknown.

    Example:
        >>> import torch
        >>> pull_loss(torch.tensor([[0.0], [2.0], [9.0]]), torch.tensor([0, 0, 1]))
        tensor(4.)
    """
    check_labels(embeddings, labels)
    num_anchors = len(labels) if num_anchors is None else num_anchors
    sums = pair_sums(embeddings.detach(), labels, 0.0, None, num_anchors)
    return _reduced(embeddings, sums, reduction, num_anchors * len(labels))


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
        Scalar ≥ 0; a term without pairs is 0 with gradient 0; NaN if an embedding is not finite.

    Raises:
        UserError: Shapes do not fit, or the reduction is unknown.

    Example:
        >>> import torch
        >>> embeddings, labels = torch.tensor([[0.0], [2.0], [1.0]]), torch.tensor([0, 0, 1])
        >>> contrastive_loss(embeddings, labels, pos_margin=1.0, neg_margin=3.0, neg_weight=0.5)
        tensor(4.)
    """
    check_labels(embeddings, labels)
    num_anchors = len(labels) if num_anchors is None else num_anchors
    sums = pair_sums(embeddings.detach(), labels, pos_margin, neg_margin, num_anchors)
    return _reduced(embeddings, sums, reduction, num_anchors * len(labels), neg_weight)


def triplet_loss(
    embeddings: Tensor,
    labels: Tensor,
    margin: float,
    mining: Mining = "all",
    squared: bool = True,
    reduction: Reduction = "mean",
    include_self: bool = False,
    penalty: Penalty = "hinge",
    num_anchors: int | None = None,
) -> Tensor:
    """Return the triplet loss: f(d_ap − d_an + margin) over all triplets of the batch or the mined ones, exactly.

    No triplet is listed. A sum of hinges is linear in the distances with whole-number weights: each positive counts the
    negatives below d_ap + margin, each negative the positives above d_an − margin, and both counts come from sorting
    the positives alone; a sum of squared hinges follows in the same way from sums beside the counts. Both take O(B² log
    P) time for P positives per anchor. Where no class has more than 32 members, hinges are counted without sorting, in
    tiles of distances that serve the anchors of both sides (`dml.functional.triplet_tiles`). `softplus`, and
    `squared_hinge` of semi-hard triplets, visit every triplet: O(B² P). Memory is O(B·(D + P)) beside a few rows of the
    distance matrix, always.

    Args:
        embeddings: (B,D).
        labels: (B,).
        margin: In units of d² or d, as `squared` says.
        mining: `all`: every (a,p,n) with p ≠ a of a's label and n of another; `semihard`: of these, all with
            d_ap < d_an < d_ap + margin; `hard`: per anchor its farthest positive with its nearest negative (the
            first, if several are equal).
        squared: Whether distances are squared Euclidean; else Euclidean, whose gradient at distance 0 is taken as 0.
        reduction: `mean` over all valid (`semihard`, `hard`: mined) triplets, `mean_nonzero` over those with a positive
            hinge, `sum`, or `mean_all`: divided by B³.
        include_self: Whether p = a, at distance 0, is a positive too.
        penalty: f: `hinge` max(0, x), `squared_hinge` max(0, x)², or `softplus` ln(1 + eˣ), the soft margin.
        num_anchors: Only the first so many embeddings are anchors; None: all.

    Returns:
        Scalar ≥ 0; 0 with gradient 0 if there is no triplet; NaN if an embedding is not finite.

    Raises:
        UserError: Shapes do not fit, or `mining`, `penalty` or `reduction` is unknown.

    Source:
        Schroff et al., "FaceNet" (2015); Hermans et al., "In Defense of the Triplet Loss" (2017).

    Example:
        >>> import torch
        >>> embeddings, labels = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 0, 1])
        >>> triplet_loss(embeddings, labels, margin=1.0)  # a=0: max(0, 1 − 4 + 1), a=1: max(0, 1 − 1 + 1)
        tensor(0.5000)
    """
    check_labels(embeddings, labels)
    check_choice("mining", mining, _MININGS)
    check_choice("penalty", penalty, _PENALTIES)
    num_anchors = len(labels) if num_anchors is None else num_anchors
    settings = (margin, mining, squared, include_self, penalty, num_anchors)
    sums = triplet_sums(embeddings.detach(), labels, *settings)
    return _reduced(embeddings, sums, reduction, num_anchors * len(labels) ** 2)


def active_share(sums: Sequence[Tensor]) -> float:
    """Return the share of the pairs or triplets that cost something, in [0, 1]; 0 where there are none.

    Args:
        sums: As `pair_sums` and `triplet_sums` return them.

    Example:
        >>> import torch
        >>> embeddings, labels = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 0, 1])
        >>> active_share(triplet_sums(embeddings, labels, 1.0, "all", True, False, "hinge", 3))
        0.5
    """
    _, active, valid, _ = sums
    return float(active.sum()) / max(1.0, float(valid.sum()))


def _reduced(
    embeddings: Tensor, sums: Sequence[Tensor], reduction: Reduction, everything: int, neg_weight: float | None = None
) -> Tensor:
    values, active, valid, gradients = sums
    factors = reduction_factors(reduction, valid, active, everything)
    if neg_weight is not None:
        factors = factors * factors.new_tensor([1.0, neg_weight])
    return with_gradient(embeddings, factors @ values, (factors @ gradients.flatten(1)).view_as(embeddings))
