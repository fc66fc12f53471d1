"""The multi-layer perceptron on pixels."""

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from dml.encoders.base import Encoder, check_embedding_dim
from dml.encoders.linear import Initialisation, linear_layer
from dml.ranges import check_number, check_widths


@final
class MLPEncoder(Encoder):
    """Embed an image by fully connected layers with ReLU between them.

    Args:
        embedding_dim: D, the size of the embedding, ≥ 1.
        hidden_sizes: Widths of the hidden layers, first to last; none gives a linear projection.
        hidden_bias: Whether the hidden layers have biases.
        output_bias: Whether the last layer has a bias.
        batch_norm: Whether BatchNorm stands before each ReLU.
        dropout: Share of each hidden layer's units dropped while training, in [0, 1).
        initialisation: `torch` or `normal` (N(0, 1/(in+out)), as in the reference experiments).
        normalize: Whether embeddings are brought to length one, the unit sphere, in training and after.

    Example:
        >>> import torch
        >>> encoder = MLPEncoder(embedding_dim=64, hidden_sizes=[256], output_bias=False)
        >>> encoder(torch.zeros(5, 3, 64, 64)).shape, sum(p.numel() for p in encoder.parameters())
        (torch.Size([5, 64]), 3162368)
    """

    def __init__(
        self,
        embedding_dim: int,
        hidden_sizes: Sequence[int] = (256,),
        hidden_bias: bool = True,
        output_bias: bool = True,
        batch_norm: bool = False,
        dropout: float = 0.0,
        initialisation: Initialisation = "torch",
        normalize: bool = False,
    ) -> None:
        super().__init__(normalize)
        check_embedding_dim(embedding_dim)
        check_widths("hidden_sizes", hidden_sizes)
        check_number("dropout", dropout, least=0, below=1)
        self.layers = nn.Sequential()
        for size in hidden_sizes:
            self.layers.append(linear_layer(size, hidden_bias, initialisation))
            if batch_norm:
                self.layers.append(nn.LazyBatchNorm1d())
            self.layers.append(nn.ReLU())
            if dropout:
                self.layers.append(nn.Dropout(dropout))
        self.layers.append(linear_layer(embedding_dim, output_bias, initialisation))

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,C,H,W)."""
        return self.finish(self.layers(images.flatten(1)))
