"""Codes of an autoencoder: paths between two of them, and the correlation of their dimensions."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dml.errors import UserError
from dml.functional.distances import wide


def interpolate_linear(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Return equally spaced codes on the straight line between two codes: (1 − t)·start + t·end, t = 0 … 1.

    Args:
        start: (D,).
        end: (D,).
        steps: Number of codes, both ends included, ≥ 2.

    Returns:
        (steps,D), in the dtype of start.

    Raises:
        UserError: Fewer than 2 steps, or the codes differ in shape.

    Example:
        >>> interpolate_linear(torch.zeros(2), torch.tensor([2.0, 4.0]), steps=3)
        tensor([[0., 0.],
                [1., 2.],
                [2., 4.]])
    """
    times = _times(start, end, steps)
    return torch.lerp(wide(start), wide(end), times).to(start.dtype)


def interpolate_spherical(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Return equally spaced codes on the arc around the origin between two codes.

    The direction turns at constant speed by the smaller angle ω between the two, sin((1 − t)ω)/sin ω · u + sin(tω)/sin
    ω · v of the unit vectors u and v, while the length goes linearly from |start| to |end|. (Shoemake's formula is for
    unit vectors; put on vectors of different lengths without normalising, the length would bulge or sag on the way.)

    Parallel codes: the straight line, which is the limit. Antiparallel codes: every half circle is as short; the one
    through the coordinate axis least aligned with start is taken (for D = 1 there is none: UserError). A code of
    length 0 has no direction: it takes the other's, so the path is the straight line.

    Args:
        start: (D,).
        end: (D,).
        steps: Number of codes, both ends included, ≥ 2.

    Returns:
        (steps,D), in the dtype of start.

    Raises:
        UserError: Fewer than 2 steps, the codes differ in shape, or antiparallel codes of one dimension.

    Source: Shoemake, "Animating Rotation with Quaternion Curves", 1985.

    Example:
        >>> interpolate_spherical(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0]), steps=3)
        tensor([[1.0000, 0.0000],
                [1.4142, 1.4142],
                [0.0000, 3.0000]])
    """
    times = _times(start, end, steps)
    first, second = wide(start), wide(end)
    lengths = first.norm(), second.norm()
    if not (lengths[0] > 0 and lengths[1] > 0):
        return interpolate_linear(start, end, steps)
    unit, other = first / lengths[0], second / lengths[1]
    # of chord and its complement: right for tiny angles and for those near 180°, where arccos is not
    angle = 2 * torch.atan2((unit - other).norm(), (unit + other).norm())
    side = _perpendicular(unit, other)
    directions = torch.cos(times * angle) * unit + torch.sin(times * angle) * side  # (steps, D)
    codes = torch.lerp(*lengths, times) * directions
    codes[-1] = second  # up to rounding it is
    path: Tensor = codes.to(start.dtype)
    return path


class CorrelationSummary(NamedTuple):
    """Three ways to say in one number how correlated the dimensions of a code are; see `correlation_summary`."""

    norm: float  # Frobenius norm of the whole matrix
    off_diagonal_norm: float  # Frobenius norm without the diagonal
    determinant: float
    log_determinant: float  # natural logarithm; -inf where the determinant is 0
    mean_absolute: float  # of the off-diagonal entries
    num_constant: int  # dimensions without variance, left out of all of the above


def correlation_matrix(codes: Tensor) -> Tensor:
    """Return Pearson's correlation of every two dimensions of a code over a set of codes.

    A dimension that is constant has no correlation: its row and column are NaN, the diagonal included. It counts as
    constant where its standard deviation is below 1e-7 of its largest absolute value, which is float32's rounding.

    Args:
        codes: (N,D), N ≥ 2.

    Returns:
        (D,D) in float64 (see `dml.functional.distances.wide`), symmetric, within −1..1, 1 on the diagonal.

    Raises:
        UserError: Fewer than two codes.

    Example:
        >>> correlation_matrix(torch.tensor([[0.0, 3.0, 7.0], [1.0, 1.0, 7.0], [2.0, -1.0, 7.0]]))
        tensor([[ 1.0000, -1.0000,     nan],
                [-1.0000,  1.0000,     nan],
                [    nan,     nan,     nan]], dtype=torch.float64)
    """
    if codes.ndim != 2 or len(codes) < 2:
        raise UserError(f"correlations need at least two codes (N,D), not an array of shape {tuple(codes.shape)}")
    rows = wide(codes)
    centred = rows - rows.mean(dim=0)
    deviation = centred.square().mean(dim=0).sqrt()
    constant = deviation <= 1e-7 * rows.abs().amax(dim=0)
    scaled = centred / deviation.masked_fill(constant, 1.0)
    correlations = (scaled.T @ scaled / len(rows)).clamp(-1, 1)
    correlations.fill_diagonal_(1.0)
    correlations[constant] = torch.nan
    correlations[:, constant] = torch.nan
    return correlations


def correlation_summary(correlations: Tensor) -> CorrelationSummary:
    """Return norm, determinant and mean absolute off-diagonal entry of a correlation matrix R (D,D).

    They don't measure the same: |R|_F = √(D + Σ_{i≠j} r²) grows with D even where nothing is correlated; det R, a
    product of D eigenvalues whose mean is 1, falls from 1 (uncorrelated) to 0 (one dimension is a linear function of
    the others) and shrinks with D at equal correlations; the mean of |r_ij| over i ≠ j alone is comparable over D. Over
    N codes drawn without any correlation it is not 0 but about √(2/(πN)).

    Args:
        correlations: (D,D), as `correlation_matrix` gives it; dimensions that are NaN are left out and counted. Fewer
            than two that remain have mean_absolute 0.

    Example:
        >>> summary = correlation_summary(torch.tensor([[1.0, 0.6], [0.6, 1.0]]))
        >>> round(summary.norm, 4), round(summary.determinant, 4), round(summary.mean_absolute, 4)
        (1.6492, 0.64, 0.6)
    """
    known = ~torch.isnan(correlations.diagonal())
    matrix = wide(correlations)[known][:, known]
    size = len(matrix)
    off_diagonal = matrix - torch.eye(size, dtype=matrix.dtype, device=matrix.device)
    sign, log_determinant = torch.linalg.slogdet(matrix)
    singular = not float(sign) > 0  # rounding may put the determinant of a singular matrix below 0
    return CorrelationSummary(
        norm=float(matrix.norm()),
        off_diagonal_norm=float(off_diagonal.norm()),
        determinant=0.0 if singular else float(log_determinant.exp()),
        log_determinant=-torch.inf if singular else float(log_determinant),
        mean_absolute=float(off_diagonal.abs().sum()) / max(1, size * (size - 1)),
        num_constant=int((~known).sum()),
    )


def _times(start: Tensor, end: Tensor, steps: int) -> Tensor:
    if steps < 2 or start.shape != end.shape or start.ndim != 1:
        shapes = f"{tuple(start.shape)} and {tuple(end.shape)}"
        raise UserError(f"cannot interpolate codes of shapes {shapes} in {steps} steps: give two (D,) and 2 or more")
    return torch.linspace(0, 1, steps, dtype=wide(start).dtype, device=start.device)[:, None]


def _perpendicular(unit: Tensor, other: Tensor) -> Tensor:
    """Return the unit vector perpendicular to `unit` on the way to `other`; parallel ones have none: 0."""
    side: Tensor = other - (other @ unit) * unit
    if float(side.norm()) > 1e-12:
        return nn.functional.normalize(side, dim=0)
    if float(other @ unit) > 0:
        return torch.zeros_like(unit)
    if len(unit) < 2:
        raise UserError("two codes of one dimension on both sides of 0 have no arc between them: interpolate linearly")
    axis = torch.zeros_like(unit)
    axis[unit.abs().argmin()] = 1.0
    return nn.functional.normalize(axis - (axis @ unit) * unit, dim=0)
