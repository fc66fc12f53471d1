"""A convolutional encoder without pooling, whose fully connected layers see every position; for small images."""

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from dml.encoders.base import Encoder, check_embedding_dim
from dml.ranges import check_widths


@final
class StridedConvEncoder(Encoder):
    """Embed an image by 3×3 convolutions of stride 2 with ReLU, then fully connected layers with ReLU between them.

    Every convolution halves the sides (rounded up). Unlike `ConvEncoder`, which averages over positions, it keeps track
    of where things are: an autoencoder needs that.

    Args:
        embedding_dim: D, the size of the embedding, ≥ 1.
        channels: Width of each convolution, first to last.
        hidden_sizes: Widths of the fully connected layers before the last.
        sigmoid: Whether the embedding passes a sigmoid, which keeps it within 0..1.
        normalize: Whether embeddings are brought to length one, the unit sphere, in training and after.

    Example:
        >>> import torch
        >>> StridedConvEncoder(embedding_dim=15, sigmoid=True)(torch.zeros(5, 1, 28, 28)).shape
        torch.Size([5, 15])
    """

    def __init__(
        self,
        embedding_dim: int,
        channels: Sequence[int] = (16, 32, 64),
        hidden_sizes: Sequence[int] = (128,),
        sigmoid: bool = False,
        normalize: bool = False,
    ) -> None:
        super().__init__(normalize)
        check_embedding_dim(embedding_dim)
        check_widths("channels", channels)
        check_widths("hidden_sizes", hidden_sizes)
        self.layers = nn.Sequential()
        for width in channels:
            self.layers.extend([nn.LazyConv2d(width, 3, stride=2, padding=1), nn.ReLU(inplace=True)])
        self.layers.append(nn.Flatten())
        for size in hidden_sizes:
            self.layers.extend([nn.LazyLinear(size), nn.ReLU(inplace=True)])
        self.layers.append(nn.LazyLinear(embedding_dim))
        if sigmoid:
            self.layers.append(nn.Sigmoid())

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,C,H,W)."""
        return self.finish(self.layers(images))
