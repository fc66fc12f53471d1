"""The triplet loss as a module; the mathematics is in `dml.functional.losses`."""

from typing import final

from torch import Tensor, nn

from dml.functional.losses import active_share, triplet_loss
from dml.functional.pairwise import Reduction
from dml.functional.triplets import Mining, Penalty, triplet_sums
from dml.ranges import check_number


@final
class TripletLoss(nn.Module):
    """Make each anchor's positives nearer than its negatives by a margin, over every triplet of the batch.

    L = R[f(d_ap − d_an + margin)], exact and without listing triplets, at any batch size.

    Args:
        margin: In units of d² or d, as `squared` says, ≥ 0.
        mining: `all`: every triplet; `semihard`: all with d_ap < d_an < d_ap + margin; `hard`: per anchor the farthest
            positive with the nearest negative.
        squared: Whether distances are squared Euclidean.
        reduction: `mean` over all valid (or mined) triplets, `mean_nonzero` over those that cost something, `sum`, or
            `mean_all`: divided by B³.
        include_self: Whether the anchor, at distance 0, is also its own positive.
        penalty: f: `hinge` max(0, x), `squared_hinge` max(0, x)², or `softplus` ln(1 + eˣ), the soft margin.

    Example:
        >>> import torch
        >>> TripletLoss(margin=1.0)(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 0, 1]))
        tensor(0.5000)
    """

    def __init__(
        self,
        margin: float,
        mining: Mining = "all",
        squared: bool = True,
        reduction: Reduction = "mean",
        include_self: bool = False,
        penalty: Penalty = "hinge",
    ) -> None:
        super().__init__()
        check_number("margin", margin, least=0)
        self.margin = margin
        self.mining: Mining = mining
        self.squared = squared
        self.reduction: Reduction = reduction
        self.include_self = include_self
        self.penalty: Penalty = penalty

    def active_share(self, embeddings: Tensor, labels: Tensor) -> float:
        """Return the share of the batch's triplets (`all`, or mined) that cost something, in [0, 1]."""
        settings = (self.margin, self.mining, self.squared, self.include_self, self.penalty, len(labels))
        return active_share(triplet_sums(embeddings, labels, *settings))

    def forward(self, embeddings: Tensor, labels: Tensor, num_anchors: int | None = None) -> Tensor:
        """Return the scalar loss of embeddings (B,D) with labels (B,); see `dml.functional.losses.triplet_loss`."""
        settings = (self.margin, self.mining, self.squared, self.reduction, self.include_self, self.penalty)
        return triplet_loss(embeddings, labels, *settings, num_anchors)
