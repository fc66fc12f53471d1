"""A first layer that is computed from the images, not learnt: filters that whiten small patches."""

from collections.abc import Iterable
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dml.ranges import check_number


def whitening_filters(covariance: Tensor, eps: float) -> Tensor:
    """Return filters whose responses to patches of this covariance are uncorrelated and of variance one.

    Row i is vᵢ / √(λᵢ + eps), λᵢ and vᵢ being the eigenvalues, the largest first, and the eigenvectors.

    Args:
        covariance: (D,D).
        eps: Added to the eigenvalues, so that directions without variance are not amplified, > 0.

    Returns:
        (D,D), one filter a row.

    Example:
        >>> filters = whitening_filters(torch.tensor([[4.0, 0.0], [0.0, 0.25]]), eps=1e-9)
        >>> filters
        tensor([[0.5000, 0.0000],
                [0.0000, 2.0000]])
    """
    values, vectors = torch.linalg.eigh(covariance)  # ascending
    largest = vectors.abs().argmax(dim=0)  # an eigenvector's sign is free: its largest entry is made positive
    vectors = vectors * vectors[largest, torch.arange(len(largest))].sign()
    filters: Tensor = (vectors / (values.clamp(min=0) + eps).sqrt()).T.flip(0)
    return filters


def patch_covariance(batches: Iterable[Tensor], size: int) -> Tensor:
    """Return the covariance (D,D), D = C·size², of all patches of all images of the batches, each (B,C,H,W).

    Example:
        >>> patch_covariance([torch.tensor([[[[1.0, -1.0], [2.0, 0.0]]]])], size=1)
        tensor([[1.2500]], dtype=torch.float64)
    """
    total, products, count = torch.zeros(()), torch.zeros(()), 0
    for images in batches:
        patches = F.unfold(images.float(), size).transpose(1, 2).flatten(0, 1).double()  # (B·L,D), a row a patch
        total = total.to(patches) + patches.sum(dim=0)
        products = products.to(patches) + patches.T @ patches
        count += len(patches)
    mean = total / count
    return products / count - torch.outer(mean, mean)


@final
class WhitenedPatches(nn.Module):
    """Convolve with filters that whiten the images' patches, each with both signs, and a learnt bias.

    Gives 2·C·patch_size² channels. The filters are taken once from training images (`take_patches`, called before the
    first training step if there is a datamodule) and kept with the weights; until then they are unit vectors.

    Args:
        patch_size: Side of the patches in pixels; images shrink by patch_size − 1.
        eps: Added to the eigenvalues of the patches' covariance, in units of normalised pixels squared.

    Source: Coates, Ng, "Learning Feature Representations with K-means", 2012, on whitening; Page, "How to Train Your
    ResNet 8: Bag of Tricks", 2019, on whitened patches as a fixed first layer.

    Example:
        >>> layer = WhitenedPatches(patch_size=2)
        >>> layer(torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 24, 7, 7])
        >>> layer.take_patches([torch.rand(5, 3, 8, 8)])
        >>> layer.taken
        True
    """

    filters: Tensor

    def __init__(self, patch_size: int = 2, eps: float = 5e-4) -> None:
        super().__init__()
        check_number("patch_size", patch_size, least=1, most=16)
        check_number("eps", eps, above=0)
        self.patch_size = patch_size
        self.eps = eps
        self.taken = False  # whether the filters are of images
        self.register_buffer("filters", torch.zeros(0))  # their number is that of the first images' channels
        self.bias = nn.UninitializedParameter()

    def forward(self, images: Tensor) -> Tensor:
        """Return the responses (B, 2·C·p², H−p+1, W−p+1) of images (B,C,H,W)."""
        if not len(self.filters):
            self._size(images.shape[1], images.device)
        filters = self.filters.to(images.dtype)
        return F.conv2d(images, torch.cat([filters, -filters]), self.bias.to(images.dtype))

    @torch.no_grad()
    def take_patches(self, batches: Iterable[Tensor]) -> None:
        """Take the filters from all patches of all images of the batches, each (B,C,H,W)."""
        covariance = patch_covariance(batches, self.patch_size)
        channels = len(covariance) // self.patch_size**2
        filters = whitening_filters(covariance, self.eps)
        self.take_filters(filters.view(-1, channels, self.patch_size, self.patch_size))

    @torch.no_grad()
    def take_filters(self, filters: Tensor) -> None:
        """Take filters (C·p², C, p, p) that another process has taken from images."""
        if not len(self.filters):
            self._size(filters.shape[1], filters.device)
        self.filters.copy_(filters)
        self.taken = True

    def _size(self, channels: int, device: torch.device) -> None:
        count = channels * self.patch_size**2
        self.filters = torch.eye(count, device=device).view(count, channels, self.patch_size, self.patch_size)
        if isinstance(self.bias, nn.UninitializedParameter):
            with torch.no_grad():
                self.bias.materialize((2 * count,), device=device, dtype=torch.float32)
                self.bias.zero_()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """Take the sizes from the weights, if no image has been seen yet."""
        key = f"{prefix}filters"
        if key in state_dict:
            if not len(self.filters):
                self._size(state_dict[key].shape[1], self.filters.device)
            self.taken = True
        super()._load_from_state_dict(state_dict, prefix, *others)
