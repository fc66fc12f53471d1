"""Images that each hold a rectangle of another image, for a loss that weighs the labels of both."""

from typing import NamedTuple

import torch
from torch import Tensor

from dml.errors import UserError


class MixedImages(NamedTuple):
    """Images of two labels each.

    Attributes:
        images: (B,C,H,W).
        others: int64 (B,), the label of the image that the rectangle was taken from.
        share: Of the frame that the rectangle covers, within 0..1.
    """

    images: Tensor
    others: Tensor
    share: float


def cut_mix(images: Tensor, labels: Tensor) -> MixedImages:
    """Lay a rectangle of another image of the batch over each image, in the same place.

    The rectangle's sides are √u of the frame's, u uniform in 0..1, its centre is uniform in the frame, and it is cut
    off at the frame; each image of the batch gives one, drawn by torch's generator, whose state a run keeps.

    Args:
        images: (B,C,H,W).
        labels: int64 (B,).

    Raises:
        UserError: The images are rows of numbers.

    Source: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", 2019.

    Example:
        >>> images, labels = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 1, 8, 8), torch.tensor([3, 4])
        >>> mixed = cut_mix(images, labels)
        >>> sorted(mixed.others.tolist()), mixed.images.mean().item()
        ([3, 4], 0.5)
    """
    if images.dim() != 4:
        raise UserError(f"model.cut_mix cuts images (B,C,H,W), not data of shape {tuple(images.shape)}")
    height, width = images.shape[2:]
    square, *centre = torch.rand(3).tolist()
    (top, bottom), (left, right) = (
        _span(middle, square**0.5, length) for middle, length in zip(centre, (height, width), strict=True)
    )
    giving = torch.randperm(len(images)).to(images.device)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[giving, :, top:bottom, left:right]
    return MixedImages(mixed, labels[giving], (bottom - top) * (right - left) / (height * width))


def _span(middle: float, share: float, length: int) -> tuple[int, int]:
    """Return where a stretch of a share of the length, about a point in 0..1 of it, begins and ends within it."""
    size = round(share * length)
    first = round(middle * length - size / 2)
    return max(first, 0), min(first + size, length)
