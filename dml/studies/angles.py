"""Angles in radians: differences modulo 2π, circular mean and variance, a loss for regression; all differentiable."""

import math

import torch
from torch import Tensor


def wrapped_difference(a: Tensor, b: Tensor) -> Tensor:
    """Return a − b modulo 2π in [−π, π): the signed turn from b to a; its gradient is 1 and −1 everywhere.

    Args:
        a: Angles in radians, any real number, any shape.
        b: Likewise, a shape that broadcasts.

    Example:
        >>> wrapped_difference(torch.tensor(0.1), torch.tensor(2 * math.pi - 0.1))
        tensor(0.2000)
    """
    return torch.remainder(a - b + math.pi, 2 * math.pi) - math.pi


def angular_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared difference modulo 2π: mean of d², d = `wrapped_difference`, in radians², within [0, π²].

    Its gradient 2·d grows with the error and does not see where the circle was cut. At exactly opposite angles, where
    two shortest ways exist, it takes that of d = −π. (1 − cos d is smooth there too, but its gradient sin d vanishes
    where the error is largest.)

    Args:
        predicted: Angles in radians (B,) or any other shape.
        target: Angles of the same shape.

    Example:
        >>> angular_loss(torch.tensor([0.1, 1.0]), torch.tensor([2 * math.pi - 0.1, 1.0]))
        tensor(0.0200)
    """
    return wrapped_difference(predicted, target).square().mean()


def circular_mean(angles: Tensor) -> Tensor:
    """Return the circular mean: the direction of the mean of all (cos θ, sin θ), in [0, 2π).

    Args:
        angles: (N,) radians, N ≥ 1.

    Returns:
        Scalar; NaN where the angles cancel out (opposite or evenly spread ones) and no direction is their mean.

    Example:
        >>> circular_mean(torch.tensor([0.1, 2 * math.pi - 0.3], dtype=torch.float64)) - 2 * math.pi
        tensor(-0.1000, dtype=torch.float64)
    """
    x, y = angles.cos().mean(), angles.sin().mean()
    length = _length(x, y)
    mean = torch.remainder(torch.atan2(y, x), 2 * math.pi)
    return torch.where(length > 8 * torch.finfo(angles.dtype).eps, mean, torch.nan)


def circular_variance(angles: Tensor) -> Tensor:
    """Return the circular variance 1 − R, R the length of the mean of all (cos θ, sin θ): 0 all equal, 1 cancelled out.

    Args:
        angles: (N,) radians, N ≥ 1.

    Example:
        >>> circular_variance(torch.tensor([0.0, math.pi / 2], dtype=torch.float64)) + 0.5**0.5
        tensor(1., dtype=torch.float64)
    """
    return 1 - _length(angles.cos().mean(), angles.sin().mean())


def _length(x: Tensor, y: Tensor) -> Tensor:
    return torch.hypot(x, y).clamp(max=1.0)  # rounding alone passes 1
