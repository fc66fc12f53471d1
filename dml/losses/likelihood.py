"""The likelihood of pixels under a normal distribution, as the loss of a variational autoencoder."""

import math
from typing import final

from torch import Tensor, nn

from dml.errors import UserError


@final
class GaussianLikelihoodLoss(nn.Module):
    """Return the negative log-likelihood of pixels that are normal around their reconstruction, in nats per pixel.

    The mean over all pixels of (x − x̂)² / (2σ²) + ln σ + ½ ln 2π. A variational autoencoder under it with beta = 1
    maximises the evidence lower bound. Under the mean squared error beta = 2σ² leads to the same weights; beta = 1
    there means σ² = ½, noise larger than the pixels' own spread, under which codes hold next to nothing.

    Args:
        std: σ, in units of pixels 0..1, > 0. The best fixed one is the root of the mean squared error it leads to.

    Raises:
        UserError: std is not above 0.

    Source: Kingma, Welling, "Auto-Encoding Variational Bayes", 2013, appendix C.2; Rybkin, Daniilidis, Levine, "Simple
    and Effective VAE Training with Calibrated Decoders", 2021, on σ.

    Example:
        >>> import torch
        >>> GaussianLikelihoodLoss(std=1.0)(torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4))
        tensor(1.4189)
    """

    def __init__(self, std: float = 0.1) -> None:
        super().__init__()
        if not 0 < std < math.inf:
            raise UserError(f"std={std}: the standard deviation of a pixel is above 0")
        self.std = std

    def forward(self, reconstructions: Tensor, pixels: Tensor) -> Tensor:
        """Return the scalar loss of reconstructions (B,C,H,W) against pixels (B,C,H,W)."""
        error: Tensor = (pixels - reconstructions).square().mean()
        return error / (2 * self.std**2) + math.log(self.std) + 0.5 * math.log(2 * math.pi)
