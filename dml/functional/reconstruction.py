"""What an autoencoder computes besides its networks: corruption, error and divergence."""

import torch
from torch import Tensor, nn

from dml.errors import UserError

_ROUNDING = 1e-4  # pixels that were normalised and back miss 0 and 1 by less


def corrupt(images: Tensor, noise_std: float = 0.0, masking: float = 0.0) -> Tensor:
    """Return images with Gaussian noise added and pixels blackened, for a denoising autoencoder.

    The noise comes first, then each pixel position is set to 0 in all channels with probability `masking`. Drawn from
    torch's generator of the device, whose state a run keeps in its checkpoints: a resumed training draws what the
    uninterrupted one would have drawn. Without noise and masking nothing is drawn.

    Args:
        images: (B,C,H,W).
        noise_std: Standard deviation of the noise, in units of the images, ≥ 0.
        masking: Share of the pixels blackened, in [0, 1).

    Source: Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders", 2008.

    Example:
        >>> corrupt(torch.ones(2, 3, 10, 10), masking=0.5).unique()
        tensor([0., 1.])
    """
    if noise_std:
        images = images + noise_std * torch.randn_like(images)
    if masking:
        images = images * (torch.rand_like(images[:, :1]) >= masking)
    return images


def check_corruption(noise_std: float, masking: float) -> None:
    """Refuse settings of `corrupt` that are out of range.

    Raises:
        UserError: A number is out of its range.

    Example:
        >>> check_corruption(noise_std=0.1, masking=1.5)
        Traceback (most recent call last):
        ...
        dml.errors.UserError: noise_std=0.1, masking=1.5: the noise is at least 0, the masked share in [0, 1)
    """
    if not noise_std >= 0 or not 0 <= masking < 1:
        raise UserError(
            f"noise_std={noise_std}, masking={masking}: the noise is at least 0, the masked share in [0, 1)"
        )


def reconstruction_loss(loss: nn.Module, reconstructions: Tensor, pixels: Tensor) -> Tensor:
    """Return a loss of reconstructions against pixels, in float32 regardless of autocast.

    Args:
        loss: `loss(reconstructions, pixels) -> scalar`: torch.nn.MSELoss, L1Loss, BCELoss, ...
        reconstructions: (B,C,H,W).
        pixels: (B,C,H,W); for BCELoss within 0..1, up to rounding.

    Raises:
        UserError: BCELoss is given pixels or reconstructions outside 0..1.

    Example:
        >>> reconstruction_loss(nn.MSELoss(), torch.zeros(2, 1, 4, 4), torch.full((2, 1, 4, 4), 0.5))
        tensor(0.2500)
    """
    with torch.autocast(pixels.device.type, enabled=False):
        reconstructions, pixels = reconstructions.float(), pixels.float()
        if isinstance(loss, nn.BCELoss):
            _check_unit_interval("pixels", pixels)
            _check_unit_interval("reconstructions", reconstructions)
            pixels = pixels.clamp(0, 1)
        value: Tensor = loss(reconstructions, pixels)
    return value


def _check_unit_interval(name: str, values: Tensor) -> None:
    low, high = (float(end) for end in values.detach().aminmax())
    if low < -_ROUNDING or high > 1 + _ROUNDING:  # not a number passes: the watch for divergence tells of it
        raise UserError(
            f"torch.nn.BCELoss needs values within 0..1 and the {name} reach from {low:.3g} to {high:.3g}: "
            "choose torch.nn.MSELoss, or a decoder with sigmoid"
        )


def normal_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of N(mean, diag exp(log_variance)) from N(0, I), averaged over the batch.

    KL = ½ Σ_d (mean_d² + exp(log_variance_d) − 1 − log_variance_d), in nats.

    Args:
        mean: (B,D).
        log_variance: (B,D).

    Returns:
        Scalar ≥ 0.

    Source: Kingma, Welling, "Auto-Encoding Variational Bayes", 2013, appendix B.

    Example:
        >>> normal_divergence(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2))
        tensor(2.)
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()


def sample_normal(mean: Tensor, log_variance: Tensor, noise: Tensor | None = None) -> Tensor:
    """Return a draw from N(mean, diag exp(log_variance)) per row, differentiable in both.

    Args:
        mean: (B,D).
        log_variance: (B,D).
        noise: Standard normal numbers (B,D); None: drawn as in `corrupt`.

    Example:
        >>> sample_normal(torch.ones(2, 3), torch.full((2, 3), -torch.inf))
        tensor([[1., 1., 1.],
                [1., 1., 1.]])
    """
    noise = torch.randn_like(mean) if noise is None else noise.to(mean)
    return mean + (0.5 * log_variance).exp() * noise
