"""A transform of training images: one of dml's, whose noise is drawn by address, or any module on images."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dml.data.transforms.random import forked_generators, mix_seed, seed_generators
from dml.errors import UserError


class AddressedTransform(nn.Module, ABC):
    """Changes a batch of images at random, each sample by noise that is a function of (seed, epoch, position).

    Subclass it where a transform is to be the same however the batch is cut; any other nn.Module on batches of images
    serves as `data.transform` too (see `apply_transform`).

    Attributes:
        takes_ids: whether `forward` takes a fifth argument, `ids`: int64 (B,), which sample it is, in every epoch.
    """

    takes_ids: bool = False

    @abstractmethod
    def forward(self, images: Tensor, seed: int, epoch: int, positions: Tensor) -> Tensor:
        """Change one batch.

        Args:
            images: uint8 or float (B, C, H, W), values within 0..255.
            seed: any whole number.
            epoch: epoch number.
            positions: int64 (B,), each sample's address within the epoch, on the device of `images`.

        Returns:
            float32 (B, C, H, W) within 0..255; equal for equal addresses.
        """


class Views(NamedTuple):
    """A transformed batch, which need not keep its size or its classes.

    Attributes:
        images: float32 (V·B, C, H, W) within 0..255.
        labels: int64 (V·B,).
        ids: int64 (V·B,), of the samples they are views of.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor


class ViewTransform(nn.Module, ABC):
    """Changes a batch of training images in number, in classes or in size, by noise of its own address.

    Args:
        transform: applied to each view afterwards, with noise of the view's own address; None: nothing.
    """

    def __init__(self, transform: nn.Module | None) -> None:
        super().__init__()
        self.transform = transform

    @abstractmethod
    def forward(self, views: Views, seed: int, epoch: int, positions: Tensor) -> Views:
        """Change one batch.

        Args:
            views: uint8 or float images within 0..255, with labels and ids.
            seed: any whole number.
            epoch: epoch number.
            positions: int64 (B,), each sample's address within the epoch, on the CPU.
        """

    def count_labels(self, num_classes: int, num_images: int) -> int:
        """Return how many labels views may have, of so many classes and images; override it if it makes its own."""
        follows = self.transform
        return follows.count_labels(num_classes, num_images) if isinstance(follows, ViewTransform) else num_classes

    def view_shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the shapes that images of one shape (C,H,W) may be shown in; override it if it changes sizes."""
        follows = self.transform
        return follows.view_shapes(shape) if isinstance(follows, ViewTransform) else [shape]

    def then(self, views: Views, seed: int, epoch: int, positions: Tensor) -> Views:
        """Apply the transform that follows."""
        return views if self.transform is None else transform_batch(self.transform, views, seed, epoch, positions)


def transform_batch(transform: nn.Module, views: Views, seed: int, epoch: int, positions: Tensor) -> Views:
    """Apply any transform, or `ViewTransform`, to one batch.

    Args:
        transform: see `apply_transform`.
        views: uint8 or float images within 0..255, with labels and ids.
        seed: any whole number.
        epoch: epoch number.
        positions: int64 (B,), on the CPU.

    Example:
        >>> images = torch.full((2, 1, 4, 4), 51, dtype=torch.uint8)
        >>> views = Views(images, torch.tensor([0, 1]), torch.tensor([7, 5]))
        >>> transform_batch(nn.Threshold(0.5, 1.0), views, seed=0, epoch=0, positions=torch.arange(2)).labels
        tensor([0, 1])
    """
    if isinstance(transform, ViewTransform):
        changed: Views = transform(views, seed, epoch, positions)
        return changed
    return views._replace(images=apply_transform(transform, views.images, seed, epoch, positions, views.ids))


def apply_transform(
    transform: nn.Module, images: Tensor, seed: int, epoch: int, positions: Tensor, ids: Tensor | None = None
) -> Tensor:
    """Apply any transform to one batch.

    An `AddressedTransform` gets the addresses. Any other module gets float32 images within 0..1 and gives the same
    back; the global generators of torch, numpy and Python it may draw from are seeded by (seed, epoch, first position)
    while it runs and put back afterwards.

    Args:
        transform: of this package, torchvision.transforms.v2, kornia or any other.
        images: uint8 or float (B, C, H, W) within 0..255.
        seed: any whole number.
        epoch: epoch number.
        positions: int64 (B,), on the CPU.
        ids: int64 (B,), which samples they are, for transforms that ask; None: not known.

    Returns:
        float32 (B, C, H, W) within 0..255.

    Raises:
        UserError: the transform fails, or changes the shape of the images.

    Example:
        >>> images = torch.full((2, 1, 4, 4), 51, dtype=torch.uint8)
        >>> apply_transform(nn.Threshold(0.5, 1.0), images, seed=0, epoch=0, positions=torch.arange(2)).unique()
        tensor([255.])
    """
    if isinstance(transform, AddressedTransform):
        own = [ids.to(images.device)] if transform.takes_ids and ids is not None else []
        changed: Tensor = transform(images, seed, epoch, positions.to(images.device), *own)
        return changed
    with forked_generators(images.device):
        seed_generators(mix_seed(seed, epoch, int(positions[0])), images.device)
        return 255 * run_foreign(transform, images.float() / 255)


@torch.no_grad()
def run_foreign(transform: nn.Module, images: Tensor) -> Tensor:
    """Run another library's transform on images within 0..1 and check what it returns."""
    name = type(transform).__name__
    try:
        changed = transform(images)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"data.transform: {name} fails on images {tuple(images.shape)}: {reason}") from error
    if not isinstance(changed, Tensor) or changed.shape != images.shape:
        told = tuple(changed.shape) if isinstance(changed, Tensor) else type(changed).__name__
        raise UserError(
            f"data.transform: {name} turns images {tuple(images.shape)} into {told}: "
            "it must keep the shape, which data.image_size sets"
        )
    return changed.float()
