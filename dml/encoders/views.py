"""An encoder whose embedding of an image is the mean over views of it: test-time augmentation."""

from collections.abc import Iterator
from typing import final

import torch.nn.functional as F
from torch import Tensor

from dml.encoders.base import Encoder
from dml.ranges import check_number


@final
class ViewAveragedEncoder(Encoder):
    """Embed an image as the mean of the embeddings of its views: mirrored, moved, enlarged; in training, of it alone.

    embedding = 1/V · Σ encoder(viewᵥ), brought to length one if the encoder's own embeddings are. Whatever embeds
    images by a trained encoder (scores, search, export) costs V times as much.

    Args:
        encoder: The encoder that is trained.
        flip: Whether the left-right mirror image is a view too; not for digits and letters.
        shift: pixels; the image moved by that many up and left, and down and right, are views too, with edges
            continued by reflection; 0: none.
        zoom: The image's middle enlarged by that factor is a view too, ≥ 1; 1: none. Training on crops that are
            enlarged shows things larger than they are: about 1.25 for crops of .3 to 1 of the image.

    Raises:
        UserError: shift or zoom is out of range.

    Source: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012;
    Touvron et al., "Fixing the train-test resolution discrepancy", 2019, on the zoom.

    Example:
        >>> import torch
        >>> from dml.encoders import FlattenEncoder
        >>> ViewAveragedEncoder(FlattenEncoder()).eval()(torch.tensor([[[[1.0, 2.0, 6.0]]]]))
        tensor([[3.5000, 2.0000, 3.5000]])
    """

    def __init__(self, encoder: Encoder, flip: bool = True, shift: int = 0, zoom: float = 1.0) -> None:
        super().__init__(encoder.normalize)
        check_number("shift", shift, least=0, most=1000)
        check_number("zoom", zoom, least=1, most=16)
        self.encoder = encoder
        self.flip = flip
        self.shift = shift
        self.zoom = zoom

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,C,H,W)."""
        embeddings: Tensor
        if self.training:
            embeddings = self.encoder(images)
            return embeddings
        return self.finish_mean([self.encoder(view) for view in self._views(images)])

    def _views(self, images: Tensor) -> Iterator[Tensor]:
        height, width, both = images.shape[2], images.shape[3], 2 * self.shift
        moved = [images]
        if self.shift:
            padded = F.pad(images, (self.shift,) * 4, mode="reflect")
            moved += [padded[:, :, :height, :width], padded[:, :, both : both + height, both : both + width]]
        if self.zoom > 1:
            rows, columns = max(1, round(height / self.zoom)), max(1, round(width / self.zoom))
            top, left = (height - rows) // 2, (width - columns) // 2
            middle = images[:, :, top : top + rows, left : left + columns]
            moved.append(F.interpolate(middle, (height, width), mode="bilinear"))
        for view in moved:
            yield view
            if self.flip:
                yield view.flip(3)
