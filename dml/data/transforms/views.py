"""Transforms that change how many images a batch has, of which classes and of which size."""

from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dml.data.transforms.base import Views, ViewTransform
from dml.errors import UserError
from dml.ranges import check_number

_TURNS = 4


@final
class RotationClasses(ViewTransform):
    """Shows every image rotated by 0, 90, 180 and 270 degrees, each rotation of a class as a class of its own.

    A batch of B images of labels y becomes one of 4·B, of labels 4·y + turn, so that a loss tells four times as many
    classes apart: a loss of tuples, or one with proxies, whose `val/loss` then says nothing; a head would have too
    many. Evaluation sees images as they are.

    Args:
        transform: applied to each view afterwards, with noise of its own; None: nothing.
        mirror: the turned mirror images are classes too: 8·B images of labels 8·y + turn, the mirrored from turn 4 on.

    Source: Santoro et al., "Meta-Learning with Memory-Augmented Neural Networks", 2016, on Omniglot.

    Example:
        >>> views = Views(torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8), torch.tensor([5]), torch.tensor([0]))
        >>> turned = RotationClasses()(views, seed=0, epoch=0, positions=torch.tensor([0]))
        >>> turned.labels, turned.images[1, 0]
        (tensor([20, 21, 22, 23]), tensor([[2, 4], [1, 3]], dtype=torch.uint8))
    """

    def __init__(self, transform: nn.Module | None = None, mirror: bool = False) -> None:
        super().__init__(transform)
        self.mirror = mirror

    def count_labels(self, num_classes: int, num_images: int) -> int:
        """Return the number of classes times that of the turns, and of mirror images."""
        return super().count_labels(_TURNS * (1 + self.mirror) * num_classes, num_images)

    def forward(self, views: Views, seed: int, epoch: int, positions: Tensor) -> Views:
        """Turn each image of a batch (B,C,S,S) four times, or eight, view after view: (4·B,C,S,S)."""
        if views.images.shape[2] != views.images.shape[3]:
            height, width = views.images.shape[2:]
            raise UserError(f"data.transform: RotationClasses turns square images, not {height}×{width}")
        sides = (views.images, views.images.flip(3)) if self.mirror else (views.images,)
        images = torch.cat([torch.rot90(side, turn, dims=(2, 3)) for side in sides for turn in range(_TURNS)])
        count = _TURNS * len(sides)
        labels = torch.cat([count * views.labels + view for view in range(count)])
        places = torch.cat([count * positions + view for view in range(count)])
        return self.then(Views(images, labels, views.ids.repeat(count)), seed, epoch, places)


@final
class MultiCrop(ViewTransform):
    """Shows every image several times in a batch, each time with other noise: more positives, and each of its own.

    Args:
        transform: what makes the views differ; `Augmentation(resized_crop=…)` crops.
        views: how many of each image, ≥ 2.
        own_class: each image is a class of its own, its label its id: what a loss learns from is the noise alone, so
            that images without labels can teach. For a loss of tuples; `val/loss` then says nothing.

    Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", 2020; here all
    views have one size. Dosovitskiy et al., "Discriminative Unsupervised Feature Learning with Exemplar Convolutional
    Neural Networks", 2014, on images as classes.

    Example:
        >>> from dml.data import Augmentation
        >>> views = Views(torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 1]), torch.arange(3))
        >>> crops = MultiCrop(Augmentation(resized_crop=0.3), views=2)(views, 0, 0, torch.arange(3))
        >>> crops.images.shape, crops.labels
        (torch.Size([6, 1, 8, 8]), tensor([0, 1, 1, 0, 1, 1]))
    """

    def __init__(self, transform: nn.Module, views: int = 2, own_class: bool = False) -> None:
        super().__init__(transform)
        check_number("views", views, least=2, most=1000)
        self.views = views
        self.own_class = own_class

    def count_labels(self, num_classes: int, num_images: int) -> int:
        """Return the number of classes, or of images where each is a class of its own."""
        return super().count_labels(num_images if self.own_class else num_classes, num_images)

    def forward(self, views: Views, seed: int, epoch: int, positions: Tensor) -> Views:
        """Show each image of a batch (B,C,H,W) `views` times: (views·B,C,H,W), the first views first."""
        count = self.views
        images = views.images.repeat(count, 1, 1, 1)
        places = torch.cat([count * positions + view for view in range(count)])
        labels = views.ids if self.own_class else views.labels
        return self.then(Views(images, labels.repeat(count), views.ids.repeat(count)), seed, epoch, places)


@final
class ProgressiveResizing(ViewTransform):
    """Shrinks training images in early epochs, so that these take less time; evaluation sees them in full size.

    Args:
        sizes: pixels; side of the images from each of the epochs in `starts` on (area-averaged, never enlarged).
        starts: first epoch of each size, ascending, the first 0.
        transform: applied first, at full size; None: nothing.

    Raises:
        UserError: there are not as many sizes as starts, or the starts do not ascend from 0.

    Source: Howard, "Now anyone can train Imagenet in 18 minutes", 2018. The encoder must take images of any size.

    Example:
        >>> views = Views(torch.rand(2, 3, 32, 32), torch.tensor([0, 1]), torch.arange(2))
        >>> resize = ProgressiveResizing(sizes=[16, 32], starts=[0, 3])
        >>> [resize(views, 0, epoch, torch.arange(2)).images.shape[-1] for epoch in (0, 2, 3)]
        [16, 16, 32]
    """

    def __init__(self, sizes: Sequence[int], starts: Sequence[int], transform: nn.Module | None = None) -> None:
        super().__init__(transform)
        if len(sizes) != len(starts) or not sizes or starts[0] != 0 or sorted(set(starts)) != list(starts):
            raise UserError(
                f"sizes={list(sizes)}, starts={list(starts)}: give one start for each size, ascending, the first 0"
            )
        for size in sizes:
            check_number("sizes", size, least=1, most=10_000)
        self.sizes = list(sizes)
        self.starts = list(starts)

    def view_shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the shape of images in each of the sizes."""
        given = super().view_shapes(shape)
        return [(*shape[:-2], *_shrink(shape[-2:], size)) for shape in given for size in self.sizes]

    def forward(self, views: Views, seed: int, epoch: int, positions: Tensor) -> Views:
        """Transform a batch (B,C,H,W), then bring its shorter side to the epoch's size."""
        views = self.then(views, seed, epoch, positions)
        size = next(size for size, start in zip(self.sizes[::-1], self.starts[::-1], strict=True) if start <= epoch)
        sides = _shrink(views.images.shape[2:], size)
        if sides == tuple(views.images.shape[2:]):
            return views
        return views._replace(images=F.interpolate(views.images.float(), size=sides, mode="area"))


def _shrink(sides: Sequence[int], size: int) -> tuple[int, int]:
    """Return height and width with the shorter one brought to `size`, if it is longer."""
    share = min(1.0, size / min(sides))
    return round(sides[0] * share), round(sides[1] * share)
