"""Pull and contrastive losses as modules; the mathematics is in `dml.functional.losses`."""

from typing import final

from torch import Tensor, nn

from dml.functional.losses import active_share, contrastive_loss, pull_loss
from dml.functional.pairs import pair_sums
from dml.functional.pairwise import Reduction
from dml.ranges import check_number


@final
class PullLoss(nn.Module):
    """Pull same-label pairs together: their squared distances, reduced; alone it lets embeddings collapse.

    Args:
        reduction: `mean` over ordered same-label pairs i ≠ j, `mean_nonzero` over those with d² > 0, `sum`, or
            `mean_all`: divided by B².

    Example:
        >>> import torch
        >>> PullLoss()(torch.tensor([[0.0], [2.0], [9.0]]), torch.tensor([0, 0, 1]))
        tensor(4.)
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(self, embeddings: Tensor, labels: Tensor, num_anchors: int | None = None) -> Tensor:
        """Return the scalar loss of embeddings (B,D) with labels (B,); see `dml.functional.losses.pull_loss`."""
        return pull_loss(embeddings, labels, self.reduction, num_anchors)


@final
class ContrastiveLoss(nn.Module):
    """Pull same-label pairs within one margin and push the others beyond another, on squared distances.

    L = R₊[max(0, d² − pos_margin)] + neg_weight · R₋[max(0, neg_margin − d²)]

    Args:
        pos_margin: Squared distance up to which same-label pairs cost nothing, ≥ 0.
        neg_margin: Squared distance from which other pairs cost nothing, ≥ 0.
        neg_weight: Weight of the second term, ≥ 0.
        reduction: `mean` of each term over its own ordered pairs i ≠ j, `mean_nonzero` over those with a positive
            hinge, `sum`, or `mean_all`: divided by B².

    Example:
        >>> import torch
        >>> loss = ContrastiveLoss(pos_margin=1.0, neg_margin=3.0, neg_weight=0.5)
        >>> loss(torch.tensor([[0.0], [2.0], [1.0]]), torch.tensor([0, 0, 1]))
        tensor(4.)
    """

    def __init__(
        self, pos_margin: float, neg_margin: float, neg_weight: float = 1.0, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        for name, value in (("pos_margin", pos_margin), ("neg_margin", neg_margin), ("neg_weight", neg_weight)):
            check_number(name, value, least=0)
        self.pos_margin = pos_margin
        self.neg_margin = neg_margin
        self.neg_weight = neg_weight
        self.reduction: Reduction = reduction

    def active_share(self, embeddings: Tensor, labels: Tensor) -> float:
        """Return the share of the batch's pairs, same-label or not, that cost something, in [0, 1]."""
        return active_share(pair_sums(embeddings, labels, self.pos_margin, self.neg_margin, len(labels)))

    def forward(self, embeddings: Tensor, labels: Tensor, num_anchors: int | None = None) -> Tensor:
        """Return the scalar loss of embeddings (B,D) with labels (B,); see `dml.functional.losses.contrastive_loss`."""
        margins = (self.pos_margin, self.neg_margin, self.neg_weight)
        return contrastive_loss(embeddings, labels, *margins, self.reduction, num_anchors)
