"""Decoders: networks from embeddings (B,D) to images (B,C,H,W)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from dml.errors import UserError
from dml.ranges import check_widths

ImageShape = tuple[int, int, int]


class Decoder(nn.Module, ABC):
    """A network that maps embeddings (B,D) to images (B,C,H,W), whose pixels are meant to lie in 0..1.

    Like encoders, decoders are not given an input size: D is read from the first embeddings they see. Their output has
    the size of the data, which `build` sets, once, before the first embeddings.

    Args:
        sigmoid: Whether the output passes a sigmoid, which keeps every pixel within 0..1.
    """

    def __init__(self, sigmoid: bool) -> None:
        super().__init__()
        self.sigmoid = sigmoid
        self.image_shape: ImageShape | None = None

    @final
    def build(self, image_shape: ImageShape) -> None:
        """Fix the shape (C,H,W) of the images; a second call with the same shape does nothing.

        Raises:
            UserError: The decoder was built for images of another shape, or a side is below 1.
        """
        if image_shape == self.image_shape:
            return
        if self.image_shape is not None:
            raise UserError(f"the decoder gives images of shape {self.image_shape} and the data's are {image_shape}")
        if min(image_shape) < 1:
            raise UserError(f"a decoder cannot give images of shape {image_shape}: every side is at least 1")
        self.image_shape = image_shape
        self._build(image_shape)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return images (B,C,H,W) for embeddings (B,D)."""
        if self.image_shape is None:
            raise UserError(f"{type(self).__name__} has no image shape yet: call build((C, H, W))")
        images = self._decode(embeddings)
        return images.sigmoid() if self.sigmoid else images

    @abstractmethod
    def _build(self, image_shape: ImageShape) -> None:
        """Make the layers that depend on the shape of the images."""

    @abstractmethod
    def _decode(self, embeddings: Tensor) -> Tensor:
        """Return images (B,C,H,W) before the sigmoid."""


@final
class MLPDecoder(Decoder):
    """Fully connected layers with ReLU between them, the last as wide as the image has pixels.

    Args:
        hidden_sizes: Widths of the hidden layers, first to last (a mirrored `MLPEncoder` has them reversed); none: a
            linear map.
        batch_norm: Whether BatchNorm stands before each ReLU.
        sigmoid: Whether the output passes a sigmoid, which keeps every pixel within 0..1.

    Example:
        >>> import torch
        >>> decoder = MLPDecoder(hidden_sizes=[32, 64])
        >>> decoder.build((1, 9, 7))
        >>> decoder(torch.zeros(5, 3)).shape
        torch.Size([5, 1, 9, 7])
    """

    def __init__(self, hidden_sizes: Sequence[int] = (256,), batch_norm: bool = False, sigmoid: bool = True) -> None:
        super().__init__(sigmoid)
        check_widths("hidden_sizes", hidden_sizes)
        self.layers = nn.Sequential()
        for size in hidden_sizes:
            self.layers.append(nn.LazyLinear(size))
            if batch_norm:
                self.layers.append(nn.LazyBatchNorm1d())
            self.layers.append(nn.ReLU())

    def _build(self, image_shape: ImageShape) -> None:
        channels, height, width = image_shape
        self.layers.append(nn.LazyLinear(channels * height * width))

    def _decode(self, embeddings: Tensor) -> Tensor:
        images: Tensor = self.layers(embeddings).unflatten(1, self.image_shape)  # (B, C·H·W) -> (B, C, H, W)
        return images


@final
class ConvDecoder(Decoder):
    """A fully connected layer to a small map of features, then stages that double its sides and convolve (3×3).

    Stage by stage the sides are ⌈H/2^s⌉ × ⌈W/2^s⌉, s counting down to 0, so that any size is matched exactly, odd ones
    too; pixels are repeated (nearest neighbour) before each convolution, which avoids the chequerboard that transposed
    convolutions leave. BatchNorm and ReLU follow every convolution but the last.

    Args:
        channels: Width of the map at each size, from the smallest to the full one; each but the first doubles the
            sides, and one more convolution makes the image.
        sigmoid: Whether the output passes a sigmoid, which keeps every pixel within 0..1.

    Source: Odena, Dumoulin, Olah, "Deconvolution and Checkerboard Artifacts", 2016.

    Example:
        >>> import torch
        >>> decoder = ConvDecoder(channels=[16, 8, 4])
        >>> decoder.build((3, 33, 50))
        >>> decoder(torch.zeros(5, 2)).shape
        torch.Size([5, 3, 33, 50])
    """

    def __init__(self, channels: Sequence[int] = (128, 64, 32), sigmoid: bool = True) -> None:
        super().__init__(sigmoid)
        if not channels:
            raise UserError("ConvDecoder has no channels: give at least one width, e.g. [128, 64, 32]")
        check_widths("channels", channels)
        self.channels = tuple(channels)

    def _build(self, image_shape: ImageShape) -> None:
        depth, height, width = image_shape
        doublings = range(len(self.channels) - 1, -1, -1)
        self.sizes = [(-(-height // 2**s), -(-width // 2**s)) for s in doublings]
        smallest = self.sizes[0][0] * self.sizes[0][1]
        self.projection = nn.LazyLinear(self.channels[0] * smallest)
        self.first = nn.Sequential(nn.BatchNorm2d(self.channels[0]), nn.ReLU())
        self.stages = nn.ModuleList(_stage(*pair) for pair in zip(self.channels, self.channels[1:], strict=False))
        self.last = nn.Conv2d(self.channels[-1], depth, 3, padding=1)

    def _decode(self, embeddings: Tensor) -> Tensor:
        features = self.projection(embeddings).unflatten(1, (self.channels[0], *self.sizes[0]))
        features = self.first(features)  # (B, channels[0], ⌈H/2^s⌉, ⌈W/2^s⌉)
        for size, stage in zip(self.sizes[1:], self.stages, strict=True):
            features = stage(F.interpolate(features, size=size))
        images: Tensor = self.last(features)
        return images


def _stage(before: int, after: int) -> nn.Sequential:
    # BatchNorm brings its own bias
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
