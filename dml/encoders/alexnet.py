"""The AlexNet-style encoder of the CIFAR-10 reference experiments."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from dml.encoders.base import Encoder, check_embedding_dim
from dml.ranges import check_number, check_widths


@final
class AlexNetEncoder(Encoder):
    """Embed a small image by five 3×3 convolutions and three fully connected layers, in AlexNet's order.

    The first convolution has stride 2 and padding 1; every convolution is followed by ReLU, then BatchNorm; max-pooling
    (2×2) follows the first, second and last; BatchNorm and dropout stand before each fully connected layer. Images need
    at least 15 pixels a side.

    Args:
        embedding_dim: D, the size of the embedding, ≥ 1.
        channels: Widths of the five convolutions.
        hidden_sizes: Widths of the fully connected layers before the last.
        dropout: Share of the inputs of each fully connected layer dropped while training, in [0, 1).
        normalize: Whether embeddings are brought to length one, the unit sphere, in training and after.

    Source: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012.

    Example:
        >>> import torch
        >>> AlexNetEncoder(embedding_dim=1000).eval()(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 1000])
    """

    def __init__(
        self,
        embedding_dim: int = 1000,
        channels: tuple[int, int, int, int, int] = (64, 192, 384, 256, 256),
        hidden_sizes: Sequence[int] = (1024, 1024),
        dropout: float = 0.5,
        normalize: bool = False,
    ) -> None:
        super().__init__(normalize)
        check_embedding_dim(embedding_dim)
        check_widths("channels", channels)
        check_widths("hidden_sizes", hidden_sizes)
        check_number("dropout", dropout, least=0, below=1)
        self.features = nn.Sequential()
        for number, width in enumerate(channels):
            self.features.append(nn.LazyConv2d(width, 3, stride=2 if number == 0 else 1, padding=1))
            self.features.append(nn.ReLU(inplace=True))
            self.features.append(nn.LazyBatchNorm2d())
            if number in (0, 1, 4):
                self.features.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(nn.Flatten())
        for size in hidden_sizes:
            self.layers.extend([nn.LazyBatchNorm1d(), nn.Dropout(dropout), nn.LazyLinear(size), nn.ReLU(inplace=True)])
        self.layers.extend([nn.LazyBatchNorm1d(), nn.Dropout(dropout), nn.LazyLinear(embedding_dim)])

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,C,H,W)."""
        images = images.contiguous(memory_format=torch.channels_last)  # a third faster on processors with bfloat16
        return self.finish(self.layers(self.features(images)))
