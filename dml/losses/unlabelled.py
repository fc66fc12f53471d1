"""Makes losses that take no labels callable with labels."""

from typing import Literal, final

import torch
from torch import Tensor, nn


@final
class UnlabelledLoss(nn.Module):
    """Let a loss that takes no labels learn from a labelled batch.

    A loss of two views (VICRegLoss, SelfSupervisedLoss of pytorch-metric-learning) gets two images of one class as the
    two views: in batch order the first and second member of each class, the third and fourth, and so on; a single one
    that remains is left out.
    A loss of one view (ManifoldLoss) gets all embeddings.

    Args:
        loss: `loss(embeddings, ref_emb=embeddings)` for two views, `loss(embeddings)` for one.
        views: How many it takes.

    Example:
        >>> class Distance(nn.Module):
        ...     def forward(self, embeddings, ref_emb):
        ...         return (embeddings - ref_emb).abs().mean()
        >>> UnlabelledLoss(Distance())(torch.tensor([[1.0], [5.0], [4.0], [9.0]]), torch.tensor([0, 1, 0, 0]))
        tensor(3.)
    """

    def __init__(self, loss: nn.Module, views: Literal[1, 2] = 2) -> None:
        super().__init__()
        self.loss = loss
        self.views = views

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (B,D) with labels (B,); 0 with gradient 0 where no class has a pair."""
        first, second = _pairs(labels)
        loss: Tensor
        if self.views == 1:
            loss = self.loss(embeddings)
        elif len(first):
            loss = self.loss(embeddings[first], ref_emb=embeddings[second])
        else:
            loss = 0 * embeddings.sum()
        return loss


def _pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positions of first and second, third and fourth, … members of every class."""
    ordered, order = labels.sort(stable=True)
    ranks = torch.arange(len(labels), device=labels.device) - torch.searchsorted(ordered, ordered)  # within the class
    paired = (ranks[:-1] % 2 == 0) & (ordered[:-1] == ordered[1:])
    return order[:-1][paired], order[1:][paired]
