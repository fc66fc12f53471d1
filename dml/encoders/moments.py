"""An encoder that sees drawings centred and brought to one size and proportion: moment normalisation."""

from typing import Literal, final, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from dml.encoders.base import Encoder
from dml.ranges import check_choice, check_number, whole_number

Ink = Literal["dark", "bright"]

_MOST_ZOOM = 4.0  # a dot or a straight line is not blown up to the frame


@final
class MomentNormalizedEncoder(Encoder):
    """Embed a drawing after moving its ink's centre to the frame's, and its spread along all directions towards one.

    With m the mean and Σ = Σ₊u₊u₊ᵀ + Σ₋u₋u₋ᵀ the covariance of ink's positions (frame's sides are 2 long, every pixel
    weighs as much as it differs from paper), what is shown at p was at m + A·p, where A has Σ's directions u± and the
    factors g/spread · (√Σ± / g)^stretch, g = ⁴√(Σ₊Σ₋), at least 1/4. In a square frame turned and mirrored drawings are
    shown turned and mirrored alike. Beyond the frame is paper; an empty frame stays empty.

    For ink on even paper, as of characters; photographs have none.

    Args:
        encoder: The encoder that is trained, on what is shown.
        ink: Whether it is `dark` on bright paper or `bright` on dark: paper is each image's largest or smallest value.
        stretch: Share of the proportion that is taken away, in [0, 1]: 0 keeps it, 1 makes all drawings equally wide
            in all directions.
        spread: Standard deviation of ink's positions that drawings are brought to, in (0, 1] half sides of the frame.
        size: pixels; the sides of what is shown; None: those of the image. From larger images small drawings keep
            their detail.

    Raises:
        UserError: A number is out of its range, or `ink` is neither.

    Source: Casey, "Moment Normalization of Handprinted Characters", 1970.

    Example:
        >>> from dml.encoders import FlattenEncoder
        >>> encoder = MomentNormalizedEncoder(FlattenEncoder(), ink="bright", stretch=0.0)
        >>> drawing = torch.zeros(1, 1, 8, 8)
        >>> drawing[:, :, 1:5, 2:6] = 1.0
        >>> torch.allclose(encoder(drawing), encoder(drawing.roll((2, 1), dims=(2, 3))), atol=1e-5)  # wherever it lies
        True
    """

    def __init__(
        self,
        encoder: Encoder,
        ink: Ink = "dark",
        stretch: float = 0.7,
        spread: float = 0.36,
        size: int | None = None,
    ) -> None:
        super().__init__(encoder.normalize)
        check_choice("ink", ink, get_args(Ink))
        check_number("stretch", stretch, least=0, most=1)
        check_number("spread", spread, above=0, most=1)
        if size is not None:
            check_number("size", whole_number("size", size), least=1, most=10_000)
        self.encoder = encoder
        self.ink: Ink = ink
        self.stretch = stretch
        self.spread = spread
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,C,H,W)."""
        embeddings: Tensor = self.encoder(self.show(images))
        return embeddings

    def show(self, images: Tensor) -> Tensor:
        """Return what the encoder sees of images (B,C,H,W): (B,C,H,W), or (B,C,size,size)."""
        pixels = images.to(torch.promote_types(images.dtype, torch.float32))
        paper = pixels.amax(dim=(2, 3), keepdim=True) if self.ink == "dark" else pixels.amin(dim=(2, 3), keepdim=True)
        ink = pixels - paper  # so that zeros, all there is beyond the frame, are paper
        height, width = images.shape[2:] if self.size is None else (self.size, self.size)
        with torch.autocast(images.device.type, enabled=False):
            factors, centre = self._moves(ink.detach().abs().mean(dim=1))
            down, across = torch.meshgrid(_centres(height, ink), _centres(width, ink), indexing="ij")
            places = torch.stack([across, down], dim=2)  # not affine_grid: ONNX has none before version 20
            grid = torch.einsum("hwj,bij->bhwi", places, factors) + centre[:, None, None]
            return (F.grid_sample(ink, grid, align_corners=False) + paper).to(images.dtype)

    def _moves(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return A (B,2,2) and m (B,2), from places of what is shown to places in the image, for ink (B,H,W)."""
        across, down = _centres(weights.shape[2], weights), _centres(weights.shape[1], weights)
        weights = weights / weights.sum(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
        columns, rows = weights.sum(dim=1), weights.sum(dim=2)
        x, y = columns @ across, rows @ down
        x_off, y_off = across - x[:, None], down - y[:, None]
        xx, yy = (columns * x_off**2).sum(dim=1), (rows * y_off**2).sum(dim=1)
        xy = torch.einsum("byx,by,bx->b", weights, y_off, x_off)
        middle, radius = (xx + yy) / 2, (((xx - yy) / 2) ** 2 + xy**2).sqrt()
        least = torch.finfo(weights.dtype).eps  # a straight line has no width
        deviations = torch.stack([middle + radius, middle - radius]).clamp_min(least).sqrt()
        both = deviations.prod(dim=0).sqrt()
        longest, shortest = (both / self.spread * (deviations / both) ** self.stretch).clamp_min(1 / _MOST_ZOOM)
        angle = torch.atan2(2 * xy, xx - yy)  # twice that of the longest direction
        even, odd = (longest + shortest) / 2, (longest - shortest) / 2
        first, second = even + odd * angle.cos(), even - odd * angle.cos()
        skew = odd * angle.sin()
        factors = torch.stack([torch.stack([first, skew], dim=1), torch.stack([skew, second], dim=1)], dim=1)
        return factors, torch.stack([x, y], dim=1)


def _centres(length: int, like: Tensor) -> Tensor:
    """Return the centres of pixels along a side that goes from -1 to 1."""
    return (torch.arange(length, device=like.device, dtype=like.dtype) + 0.5) * (2 / length) - 1
