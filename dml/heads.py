"""Heads: networks from embeddings (B,D) to logits (B,num_classes); D is read from the first embeddings they see."""

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from dml.ranges import MOST_UNITS, check_number, check_widths


@final
class LinearHead(nn.Module):
    """One linear layer: logits = W·embedding + b; with `FlattenEncoder` before it, this is softmax regression.

    Args:
        num_classes: Number of classes, ≥ 2.
        batch_norm: Standardise the embeddings first (BatchNorm without weights of its own), so that their scale does
            not matter: the habit of linear probes.
        bias: Whether b is learnt; otherwise it is 0.
        scale: What the logits are multiplied by: below 1, the head needs larger weights and the encoder learns more
            slowly.

    Example:
        >>> import torch
        >>> LinearHead(num_classes=10)(torch.zeros(5, 64)).shape
        torch.Size([5, 10])
    """

    def __init__(self, num_classes: int, batch_norm: bool = False, bias: bool = True, scale: float = 1.0) -> None:
        super().__init__()
        check_number("num_classes", num_classes, least=2, most=MOST_UNITS)
        check_number("scale", scale, above=0)
        self.num_classes = num_classes
        self.scale = scale
        self.norm = _norm(batch_norm)
        self.layer = nn.LazyLinear(num_classes, bias=bias)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the logits (B,num_classes) of embeddings (B,D)."""
        logits: Tensor = self.layer(self.norm(embeddings))
        return logits if self.scale == 1 else self.scale * logits


@final
class MLPHead(nn.Module):
    """Fully connected layers with ReLU between them.

    Args:
        num_classes: Number of classes, ≥ 2.
        hidden_sizes: Widths of the hidden layers, first to last.
        dropout: Share of each hidden layer's units dropped while training, in [0, 1).
        batch_norm: Standardise the embeddings first, as in `LinearHead`.

    Example:
        >>> import torch
        >>> MLPHead(num_classes=10, hidden_sizes=[32])(torch.zeros(5, 64)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        num_classes: int,
        hidden_sizes: Sequence[int] = (32,),
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        check_number("num_classes", num_classes, least=2, most=MOST_UNITS)
        check_widths("hidden_sizes", hidden_sizes)
        check_number("dropout", dropout, least=0, below=1)
        self.num_classes = num_classes
        self.norm = _norm(batch_norm)
        self.layers = nn.Sequential()
        for size in hidden_sizes:
            self.layers.extend([nn.LazyLinear(size), nn.ReLU(), nn.Dropout(dropout)])
        self.layers.append(nn.LazyLinear(num_classes))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the logits (B,num_classes) of embeddings (B,D)."""
        logits: Tensor = self.layers(self.norm(embeddings))
        return logits


def _norm(batch_norm: bool) -> nn.Module:
    return nn.LazyBatchNorm1d(affine=False) if batch_norm else nn.Identity()
