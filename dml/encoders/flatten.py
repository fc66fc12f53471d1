"""The encoder that learns nothing: the embedding of an image is its pixels."""

from typing import final

from torch import Tensor

from dml.encoders.base import Encoder


@final
class FlattenEncoder(Encoder):
    """Embed an image as its pixels, row by row: D = C·H·W, no parameters.

    Example:
        >>> import torch
        >>> FlattenEncoder()(torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 192])
    """

    def forward(self, images: Tensor) -> Tensor:
        """Return the pixels (B, C·H·W) of images (B,C,H,W)."""
        return images.flatten(1)
