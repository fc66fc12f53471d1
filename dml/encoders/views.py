"""An encoder whose embedding of an image is the mean over views of it: test-time augmentation."""

from collections.abc import Iterator
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from dml.encoders.base import Encoder
from dml.ranges import check_number


@final
class ViewAveragedEncoder(Encoder):
    """Embed an image as the mean of the embeddings of its views: mirrored, moved. In training: of the image alone.

    embedding = 1/V · Σ encoder(viewᵥ), brought to length one if the encoder's own embeddings are. Whatever embeds
    images by a trained encoder (scores, search, export) costs V times as much.

    Args:
        encoder: The encoder that is trained.
        flip: Whether the left-right mirror image is a view too; not for digits and letters.
        shift: pixels; the image moved by that many up and left, and down and right, are views too, with edges
            continued by reflection; 0: none.

    Raises:
        UserError: shift is out of range.

    Source: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012.

    Example:
        >>> from dml.encoders import FlattenEncoder
        >>> ViewAveragedEncoder(FlattenEncoder()).eval()(torch.tensor([[[[1.0, 2.0, 6.0]]]]))
        tensor([[3.5000, 2.0000, 3.5000]])
    """

    def __init__(self, encoder: Encoder, flip: bool = True, shift: int = 0) -> None:
        super().__init__(encoder.normalize)
        check_number("shift", shift, least=0, most=1000)
        self.encoder = encoder
        self.flip = flip
        self.shift = shift

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,C,H,W)."""
        embeddings: Tensor
        if self.training:
            embeddings = self.encoder(images)
            return embeddings
        views = torch.stack([self.encoder(view) for view in self._views(images)])
        return self.finish(views.mean(dim=0, dtype=torch.promote_types(views.dtype, torch.float32)))

    def _views(self, images: Tensor) -> Iterator[Tensor]:
        moved = [images]
        if self.shift:
            height, width, both = images.shape[2], images.shape[3], 2 * self.shift
            padded = F.pad(images, (self.shift,) * 4, mode="reflect")
            moved += [padded[:, :, :height, :width], padded[:, :, both : both + height, both : both + width]]
        for view in moved:
            yield view
            if self.flip:
                yield view.flip(3)
