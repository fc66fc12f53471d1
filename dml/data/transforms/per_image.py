"""Makes a transform that draws once for a whole batch draw for each image."""

from typing import final

import torch
from torch import Tensor, nn

from dml.data.transforms.base import AddressedTransform, run_foreign
from dml.data.transforms.random import forked_generators, mix_seed, seed_generators


@final
class PerImage(AddressedTransform):
    """Applies another library's transform image by image, each with noise of its own address.

    Transforms of torchvision.transforms.v2 draw once per batch: all its images are turned by one angle. Behind this
    class each image draws for itself, and the same however the batch is cut. It takes a call per image; kornia's
    transforms and `Augmentation` draw per image by themselves and are faster.

    Args:
        transform: Images (1, C, H, W), float32 within 0..1, to the same.

    Example:
        >>> images = torch.arange(4.0).expand(8, 1, 4, 4)
        >>> flip = PerImage(nn.Dropout2d())  # some images become black, not all
        >>> flip(images, seed=0, epoch=0, positions=torch.arange(8)).amax(dim=(1, 2, 3)).unique().numel()
        2
    """

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, images: Tensor, seed: int, epoch: int, positions: Tensor) -> Tensor:
        """Change image after image (B, C, H, W), each with the generators seeded by its address."""
        changed = torch.empty(images.shape, device=images.device)
        with forked_generators(images.device):
            for i, position in enumerate(positions.tolist()):
                seed_generators(mix_seed(seed, epoch, position), images.device)
                changed[i : i + 1] = run_foreign(self.transform, images[i : i + 1].float() / 255)
        return 255 * changed
