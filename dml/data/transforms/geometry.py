"""Moves of the frame, composed into one resampling per sample."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Border = Literal["black", "reflect"]


def window(images: Tensor, padding: int, rows: Tensor, columns: Tensor, border: Border) -> Tensor:
    """Pad on all sides and cut a window of the old size, exactly: no pixel is resampled.

    Args:
        images: float (B, C, H, W).
        padding: pixels added on each side.
        rows: int64 (B,), top of the window in the padded image, within 0..2·padding; likewise columns.
        columns: see rows.
        border: what the padding holds.

    Returns:
        (B, C, H, W).

    Example:
        >>> window(torch.ones(1, 1, 2, 2), 1, torch.tensor([0]), torch.tensor([1]), "black").flatten()
        tensor([0., 0., 1., 1.])
    """
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4, mode="reflect" if border == "reflect" else "constant")
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2p+1, 2p+1, H, W), a view
    return windows[torch.arange(len(images), device=images.device), :, rows, columns]


def mirror(images: Tensor, horizontally: Tensor, vertically: Tensor) -> Tensor:
    """Mirror the samples marked by two bool tensors (B,)."""
    if horizontally.any():
        images = torch.where(horizontally[:, None, None, None], images.flip(3), images)
    if vertically.any():
        images = torch.where(vertically[:, None, None, None], images.flip(2), images)
    return images


def box_matrix(center: Tensor, half: Tensor) -> Tensor:
    """Matrix (B, 3, 3) that shows a box of the image in the whole frame.

    Args:
        center: (B, 2) x and y of the box, in frame coordinates -1..1.
        half: (B, 2) half its width and height; 1 is the whole frame, negative mirrors.
    """
    matrix = torch.diag_embed(torch.cat([half, torch.ones_like(half[:, :1])], dim=1))
    matrix[:, :2, 2] = center
    return matrix


def turn_matrix(degrees: Tensor, zoom: Tensor, shear: Tensor, shift: Tensor, height: int, width: int) -> Tensor:
    """Matrix (B, 3, 3) that turns, zooms and shears about the centre, then shifts.

    Args:
        degrees: (B,) counter-clockwise turn of the picture.
        zoom: (B,) above 1 enlarges.
        shear: (B,) degrees, along x.
        shift: (B, 2) right and down, in shares of the frame.
        height: of the frame, pixels; a turn must not squeeze frames that are not square.
        width: likewise.
    """
    angle, slant = torch.deg2rad(degrees), torch.tan(torch.deg2rad(shear))
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    ratio = height / width
    one, zero = torch.ones_like(zoom), torch.zeros_like(zoom)
    # from where in the image is the point (x, y) of the frame taken: shift back, shear back, then turn back
    back = torch.stack([one, zero, -2 * shift[:, 0], zero, one, -2 * shift[:, 1], zero, zero, one], 1).view(-1, 3, 3)
    lean = torch.stack([one, -slant * ratio, zero, zero, one, zero, zero, zero, one], 1).view(-1, 3, 3)
    turn = torch.stack([cos, -sin * ratio, zero, sin / ratio, cos, zero, zero, zero, one], 1).view(-1, 3, 3)
    return turn @ lean @ back


def cut_sizes(share: Tensor, log_ratio: Tensor) -> Tensor:
    """Half width and half height (B, 2) of boxes of a given area share and aspect ratio, cut off at the whole frame."""
    ratio = torch.exp(log_ratio)
    return torch.stack([torch.sqrt(share * ratio), torch.sqrt(share / ratio)], dim=1).clamp(max=1)


def bend(moves: Tensor, height: int, width: int) -> Tensor:
    """Spread the moves of a grid of points over the frame.

    Args:
        moves: (B, 2, K, K) pixels, right and down, of points whose outermost lie in the frame's corners.
        height: of the frame, pixels.
        width: likewise.

    Returns:
        (B, 2, H, W) in frame coordinates, of which 2 are the frame's side: a bicubic surface through the points.

    Example:
        >>> bend(torch.ones(1, 2, 4, 4), 4, 8)[0, :, 2, 5]
        tensor([0.2500, 0.5000])
    """
    scaled = moves * moves.new_tensor([2 / width, 2 / height])[:, None, None]
    rows, columns = (_spread(moves.shape[2], side).to(moves) for side in (height, width))
    return rows @ scaled @ columns.T


def _spread(knots: int, side: int) -> Tensor:
    """Weights (side, knots) of bicubic interpolation along one axis: two small products in place of 16 taps a pixel."""
    points = torch.eye(knots)[None, None]
    return F.interpolate(points, size=(side, knots), mode="bicubic", align_corners=True)[0, 0]


def resample(images: Tensor, matrix: Tensor, border: Border, moves: Tensor | None = None) -> Tensor:
    """Look the images up through (B, 3, 3) matrices from frame to image coordinates, bilinearly.

    Args:
        images: float (B, C, H, W).
        matrix: (B, 3, 3).
        border: what lies outside the images.
        moves: (B, 2, H, W), added to the coordinates in the image; None: nothing.
    """
    columns, rows = (
        (2 * torch.arange(side, dtype=images.dtype, device=images.device) + 1) / side - 1
        for side in (images.shape[3], images.shape[2])
    )
    scale, lean, shift = matrix[:, :2, :, None].unbind(2)  # (B, 2, 1) each
    points = (scale * columns)[:, :, None] + (lean * rows + shift)[..., None]  # (B, 2, H, W)
    if moves is not None:
        points += moves
    mode = "reflection" if border == "reflect" else "zeros"
    return F.grid_sample(images, points.permute(0, 2, 3, 1), mode="bilinear", padding_mode=mode, align_corners=False)


def rectangle_mask(area: Tensor, log_ratio: Tensor, place: Tensor, height: int, width: int) -> Tensor:
    """Bool (B, 1, H, W), true inside one rectangle per sample.

    Args:
        area: (B,) share of the frame.
        log_ratio: (B,) logarithm of width over height.
        place: (B, 2) within 0..1: where x and y lie between their extremes.
        height: of the frame, pixels.
        width: likewise.
    """
    half = cut_sizes(area, log_ratio)
    x0, y0 = (place * (1 - half)).unbind(1)
    columns = (torch.arange(width, device=area.device) + 0.5) / width
    rows = (torch.arange(height, device=area.device) + 0.5) / height
    across = (columns >= x0[:, None]) & (columns < (x0 + half[:, 0])[:, None])
    down = (rows >= y0[:, None]) & (rows < (y0 + half[:, 1])[:, None])
    return (down[:, :, None] & across[:, None, :])[:, None]


def square_mask(place: Tensor, side: int, height: int, width: int) -> Tensor:
    """Bool (B, 1, H, W), true inside one square per sample, cut off at the frame.

    Args:
        place: (B, 2) within 0..1: which pixel, across and down, is the square's centre; of an even side, the first
            right and below of it.
        side: pixels.
        height: of the frame, pixels.
        width: likewise.

    Example:
        >>> square_mask(torch.tensor([[0.0, 0.5]]), 2, 3, 3).int()[0, 0]
        tensor([[1, 0, 0],
                [1, 0, 0],
                [0, 0, 0]], dtype=torch.int32)
    """
    left = torch.floor(place[:, 0] * width) - side // 2
    top = torch.floor(place[:, 1] * height) - side // 2
    columns = torch.arange(width, device=place.device)
    rows = torch.arange(height, device=place.device)
    across = (columns >= left[:, None]) & (columns < left[:, None] + side)
    down = (rows >= top[:, None]) & (rows < top[:, None] + side)
    return (down[:, :, None] & across[:, None, :])[:, None]
