"""The encoder without learnt parameters: the embedding of an image is its pixels, less a mean image if asked for."""

from collections.abc import Iterable
from typing import Any, final

import torch
from torch import Tensor

from dml.encoders.base import Encoder
from dml.functional.distances import wide


@final
class FlattenEncoder(Encoder):
    """Embed an image as its pixels, row by row: D = C·H·W, no parameters.

    Args:
        center: Subtract the mean image of the training images. It is taken when training starts (`take_mean`) and kept
            with the weights; until then it is 0.
        normalize: Whether embeddings are brought to length one, the unit sphere, in training and after.

    Example:
        >>> FlattenEncoder()(torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 192])
    """

    mean: Tensor

    def __init__(self, center: bool = False, normalize: bool = False) -> None:
        super().__init__(normalize)
        self.center = center
        if center:
            self.register_buffer("mean", torch.zeros(0))  # its size is that of the first images

    def forward(self, images: Tensor) -> Tensor:
        """Return the pixels (B, C·H·W) of images (B,C,H,W)."""
        pixels = images.flatten(1)
        if not self.center:
            return self.finish(pixels)
        if not len(self.mean):
            self.mean = pixels.new_zeros(pixels.shape[1])
        return self.finish(pixels - self.mean)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """Take the size of the mean image from the weights, if no image has been seen yet."""
        if self.center and not len(self.mean) and f"{prefix}mean" in state_dict:
            self.mean = torch.zeros_like(state_dict[f"{prefix}mean"], device=self.mean.device)
        super()._load_from_state_dict(state_dict, prefix, *others)

    @torch.no_grad()
    def take_mean(self, batches: Iterable[Tensor]) -> None:
        """Take the mean image of all images of the batches, each (B,C,H,W).

        Example:
            >>> encoder = FlattenEncoder(center=True)
            >>> encoder.take_mean([torch.tensor([[[[1.0, 5.0]]], [[[3.0, 5.0]]]])])
            >>> encoder(torch.tensor([[[[2.0, 4.0]]]]))
            tensor([[ 0., -1.]])
        """
        total, count, dtype = torch.zeros(()), 0, torch.float32
        for images in batches:
            total = wide(images.flatten(1)).sum(dim=0) + total.to(images.device)
            count, dtype = count + len(images), images.dtype
        self.mean = (total / count).to(dtype)
