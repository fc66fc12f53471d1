"""Sums what the same-label and the other pairs of a batch cost, with gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dml.functional.pairwise import Term, fake_sums, sum_over_anchors

Sums = tuple[Tensor, Tensor, Tensor, Tensor]


def pair_sums(
    embeddings: Tensor, labels: Tensor, pos_margin: float, neg_margin: float | None, num_anchors: int
) -> Sums:
    """Sum max(0, d² − pos_margin) over same-label pairs and max(0, neg_margin − d²) over the others, with gradients.

    Args:
        embeddings: (B,D).
        labels: (B,).
        pos_margin: A squared distance.
        neg_margin: A squared distance; None leaves the second sum out.
        num_anchors: The first so many embeddings are anchors.

    Returns:
        K=2 (or 1) sums, their numbers of pairs above 0 and of all pairs, each (K,), and the gradients (K,B,D).

    Example:
        >>> rows, labels = torch.tensor([[0.0], [2.0], [1.0]]), torch.tensor([0, 0, 1])
        >>> values, active, valid, _ = pair_sums(rows, labels, pos_margin=1.0, neg_margin=3.0, num_anchors=3)
        >>> values.tolist(), active.tolist(), valid.tolist()
        ([6.0, 8.0], [2.0, 4.0], [2.0, 4.0])
    """
    sums: Sums = _pair_sums(embeddings, labels, pos_margin, neg_margin, num_anchors)
    return sums


# an operator of its own, so that torch.compile leaves it whole
@torch.library.custom_op("dml::pair_sums", mutates_args=())
def _pair_sums(
    embeddings: Tensor, labels: Tensor, pos_margin: float, neg_margin: float | None, num_anchors: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:

    def kernel(distances: Tensor, rows: slice) -> Sequence[Term]:
        same = labels[rows, None] == labels
        far = torch.where(same, distances - pos_margin, 0.0).clamp_(min=0)
        far[:, rows].fill_diagonal_(0.0)  # no pair with itself, whatever the margin
        terms = [Term(far.sum(), (far > 0).sum(), (far > 0).to(far.dtype))]
        if neg_margin is not None:
            near = torch.where(same, 0.0, neg_margin - distances).clamp_(min=0)
            terms.append(Term(near.sum(), (near > 0).sum(), (near > 0).to(near.dtype).neg_()))
        return terms

    values, active, gradients = sum_over_anchors(embeddings, kernel, num_anchors, squared=True)
    return values, active, _count_pairs(labels, num_anchors)[: len(values)].to(values.dtype), gradients


@_pair_sums.register_fake
def _(
    embeddings: Tensor, labels: Tensor, pos_margin: float, neg_margin: float | None, num_anchors: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return fake_sums(embeddings, 1 if neg_margin is None else 2)


def _count_pairs(labels: Tensor, num_anchors: int) -> Tensor:
    """Count the ordered pairs i ≠ j with equal labels and those with different ones, as (2,)."""
    _, classes, sizes = labels.unique(return_inverse=True, return_counts=True)
    same = sizes[classes[:num_anchors]].sum()
    return torch.stack([same - num_anchors, num_anchors * len(labels) - same])
