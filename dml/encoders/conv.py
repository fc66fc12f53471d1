"""A small convolutional encoder for small images."""

from collections.abc import Sequence
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from dml.encoders.base import Encoder, check_embedding_dim
from dml.ranges import check_number, check_widths


@final
class ConvEncoder(Encoder):
    """Embed an image by stages of two 3×3 convolutions, halving its sides between stages, then the mean over positions.

    Each convolution is followed by BatchNorm and ReLU. Images smaller than 2^(stages-1) pixels are halved as often as
    possible.

    Args:
        embedding_dim: D, the size of the embedding, ≥ 1.
        channels: Width of each stage, first to last.
        dropout: Share of the pooled features dropped while training, in [0, 1).
        first_stride: Stride of the first convolution: 2 makes the rest four times cheaper, for images of 64 pixels or
            more.
        normalize: Whether embeddings are brought to length one, the unit sphere, in training and after.

    Example:
        >>> import torch
        >>> ConvEncoder(embedding_dim=32)(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 32])
    """

    def __init__(
        self,
        embedding_dim: int,
        channels: Sequence[int] = (32, 64, 128),
        dropout: float = 0.0,
        first_stride: int = 1,
        normalize: bool = False,
    ) -> None:
        super().__init__(normalize)
        check_embedding_dim(embedding_dim)
        check_widths("channels", channels, empty=False)
        check_number("dropout", dropout, least=0, below=1)
        check_number("first_stride", first_stride, least=1, most=64)
        strides = [first_stride] + [1] * (len(channels) - 1)
        self.stages = nn.ModuleList(
            nn.Sequential(*_conv(width, stride), *_conv(width, 1))
            for width, stride in zip(channels, strides, strict=True)
        )
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.LazyLinear(embedding_dim)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,C,H,W)."""
        features = images
        for number, stage in enumerate(self.stages):
            if number > 0 and min(features.shape[-2:]) > 1:
                features = F.max_pool2d(features, 2)  # (B, width, H/2, W/2)
            features = stage(features)
        return self.finish(self.projection(self.dropout(features.mean(dim=(2, 3)))))


def _conv(width: int, stride: int) -> list[nn.Module]:
    # BatchNorm brings its own bias
    return [nn.LazyConv2d(width, 3, stride, padding=1, bias=False), nn.LazyBatchNorm2d(), nn.ReLU(inplace=True)]
