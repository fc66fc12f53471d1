"""Changes the colour and sharpness of a batch of images by given amounts."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: how much red, green and blue count in grey
# red, green, blue -> luma and the two colour axes of the NTSC system, in whose plane hue is an angle
YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def grey(images: Tensor) -> Tensor:
    """Luma (B, 1, H, W) of grey or RGB images."""
    if images.shape[1] == 1:
        return images
    weights = images.new_tensor(LUMA).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)


def adjust(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue in this order, as one matrix per sample.

    x is scaled by brightness, moved from its mean grey by contrast, from its own grey by saturation, and its hue turned
    in the YIQ plane. Each keeps grey grey, so the chain is M·x + (1 - contrast) · mean grey. Nothing is cut off.

    Args:
        images: float (B, C, H, W), C = 1 or 3; with one channel saturation and hue mean nothing.
        brightness: (B,) factor; 1 changes nothing; likewise contrast and saturation.
        contrast: see brightness.
        saturation: see brightness.
        hue: (B,) turns of the colour circle; 0 changes nothing.

    Returns:
        (B, C, H, W).

    Example:
        >>> one, zero = torch.ones(1), torch.zeros(1)
        >>> adjust(torch.tensor([[[[2.0]], [[4.0]], [[6.0]]]]), 2 * one, one, one, zero).flatten()
        tensor([ 4.,  8., 12.])
    """
    mean = grey(images.mean(dim=(2, 3), keepdim=True)).flatten(1)  # (B, 1)
    offset = ((1 - contrast) * brightness)[:, None] * mean
    gain = brightness * contrast
    if images.shape[1] == 1:
        return torch.addcmul(offset[:, :, None, None], images, gain[:, None, None, None])
    matrix = _colour_matrix(saturation, hue) * gain[:, None, None]
    flat = torch.baddbmm(offset[:, :, None], matrix, images.flatten(2))
    return flat.view_as(images)


def _colour_matrix(saturation: Tensor, hue: Tensor) -> Tensor:
    """Saturation, then hue, as a matrix (B, 3, 3) on red, green, blue."""
    eye = torch.eye(3, device=hue.device)
    luma = eye.new_tensor(LUMA).expand(3, 3)
    wash = saturation[:, None, None] * eye + (1 - saturation)[:, None, None] * luma
    if not hue.any():
        return wash
    cos, sin = torch.cos(2 * math.pi * hue), torch.sin(2 * math.pi * hue)
    turn = eye.repeat(len(hue), 1, 1)
    turn[:, 1, 1], turn[:, 1, 2], turn[:, 2, 1], turn[:, 2, 2] = cos, -sin, sin, cos
    yiq = eye.new_tensor(YIQ)
    matrix: Tensor = torch.linalg.inv(yiq) @ turn @ yiq @ wash
    return matrix


def blur(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Blur each sample with a Gaussian of its own width; edges are continued outwards.

    Args:
        images: float (B, C, H, W).
        sigma: (B,) standard deviation, pixels; 0 leaves the sample as it is.
        radius: reach of the kernel, pixels.

    Returns:
        (B, C, H, W).

    Example:
        >>> blur(torch.ones(1, 1, 3, 3), torch.tensor([0.8]), 2).mean()
        tensor(1.)
    """
    steps = torch.arange(-radius, radius + 1, device=sigma.device)
    weights = torch.exp(-0.5 * (steps / sigma.clamp(min=1e-3)[:, None]) ** 2)
    weights = weights / weights.sum(dim=1, keepdim=True)  # (B, 2r+1)
    for dim, pad in ((3, (radius, radius, 0, 0)), (2, (0, 0, radius, radius))):
        size = images.shape[dim]
        padded = F.pad(images, pad, mode="replicate")
        images = torch.zeros_like(images)
        for k in range(2 * radius + 1):
            images.addcmul_(padded.narrow(dim, k, size), weights[:, k, None, None, None])
    return images
