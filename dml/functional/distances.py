"""Pairwise distances that stay accurate when embeddings have collapsed."""

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """Return x in the precision that distances are computed in: float64 (float32 on `mps`, which has no float64).

    Example:
        >>> wide(torch.zeros(2, dtype=torch.bfloat16)).dtype
        torch.float64
    """
    return x.to(torch.float32 if x.device.type == "mps" else torch.float64)


def squared_distances(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Return all squared Euclidean distances d²_ij = |x_i − y_j|², fast, and accurate for nearly equal rows too.

    |x|² + |y|² − 2x·y is fast, but in float32 it loses all digits of distances that are small beside the norms. Here
    both sides are centred on the mean of y and multiplied in float64, which resolves whatever float32 rows can hold;
    what lies below the rounding error, d < 6e-8 of the distance from that mean, is exactly 0. Autocast does not
    apply.

    Args:
        x: (A,D), of any floating dtype.
        y: (B,D); None compares x with itself.

    Returns:
        (A,B) distances in the precision of `wide`, ≥ 0, differentiable.

    Example:
        >>> points = torch.tensor([[100.0, 0.0], [100.0, 1e-4], [103.0, 4.0]])
        >>> squared_distances(points).tolist()[0]
        [0.0, 9.99999...e-09, 25.0]
    """
    y = x if y is None else y
    with torch.autocast(x.device.type, enabled=False):
        x, y = wide(x), wide(y)
        centre = y.detach().mean(dim=0)
        x, y = x - centre, y - centre
        return distances_of_centred(x, y, x.square().sum(dim=1), y.square().sum(dim=1))


def distances_of_centred(x: Tensor, y: Tensor, x_norms: Tensor, y_norms: Tensor) -> Tensor:
    """Return d²_ij = |x_i − y_j|² of rows that are `wide` and already lie around 0; see `squared_distances`.

    Args:
        x: (A,D).
        y: (B,D).
        x_norms: (A,), |x_i|².
        y_norms: (B,), |y_j|².

    Example:
        >>> x, y = torch.tensor([[-1.0], [1.0]]), torch.tensor([[2.0]])
        >>> distances_of_centred(x, y, torch.tensor([1.0, 1.0]), torch.tensor([4.0])).tolist()
        [[9.0], [1.0]]
    """
    norms = x_norms[:, None] + y_norms  # (A,B): |x_i|² + |y_j|²
    distances = torch.addmm(norms, x, y.T, alpha=-2)
    noise = norms.detach() * (8 * torch.finfo(norms.dtype).eps)
    return distances.masked_fill(distances.detach() <= noise, 0.0)
