"""A transform of training images: ours, whose noise is drawn by address, or any module of images alone."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from dml.data.transforms.random import forked_generators, mix_seed, seed_generators
from dml.errors import UserError


class AddressedTransform(nn.Module, ABC):
    """Changes a batch of images at random, each sample by noise that is a function of (seed, epoch, position).

    Subclass it where a transform is to be the same however the batch is cut; any other nn.Module on batches of images
    serves as `data.transform` too (see `apply_transform`).
    """

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


def apply_transform(transform: nn.Module, images: Tensor, seed: int, epoch: int, positions: Tensor) -> Tensor:
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
        changed: Tensor = transform(images, seed, epoch, positions.to(images.device))
        return changed
    with forked_generators(images.device):
        seed_generators(mix_seed(seed, epoch, int(positions[0])), images.device)
        return 255 * run_foreign(transform, images.float() / 255)


@torch.no_grad()
def run_foreign(transform: nn.Module, images: Tensor) -> Tensor:
    """Run another library's transform on images within 0..1 and check what it gives back."""
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
