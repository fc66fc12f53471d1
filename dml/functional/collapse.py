"""How much of its space an embedding uses: spread, effective rank, dead dimensions."""

import torch
from torch import Tensor


def spread(embeddings: Tensor) -> float:
    """Return the mean distance of embeddings to their mean: Σ_i ‖x_i − x̄‖ / B.

    Args:
        embeddings: (B,D).

    Example:
        >>> spread(torch.tensor([[0.0, 0.0], [0.0, 4.0]]))
        2.0
    """
    return float((embeddings - embeddings.mean(dim=0)).norm(dim=1).mean())


def effective_rank(embeddings: Tensor) -> float:
    """Return the exponential of the entropy of the centred embeddings' singular values, normalised to sum 1.

    Args:
        embeddings: (B,D).

    Returns:
        Between 1 (all on a line) and min(B − 1, D) (the same spread in every direction); 0 if all are one point.

    Source:
        Roy and Vetterli, "The effective rank" (2007).

    Example:
        >>> round(effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])), 6)
        2.0
    """
    wide = embeddings.double()
    centred = wide - wide.mean(dim=0)
    small = centred.T @ centred if centred.shape[0] > centred.shape[1] else centred @ centred.T
    values = torch.linalg.eigvalsh(small).clamp_min(0).sqrt()
    if float(values.max()) <= torch.finfo(embeddings.dtype).eps * float(wide.norm()):
        return 0.0  # what is left of one point is rounding
    shares = values / values.sum()
    return float(torch.special.entr(shares).sum().exp())


def dead_dimensions(embeddings: Tensor) -> int:
    """Return how many dimensions vary by less than 1 % of the one that varies most (standard deviations).

    Args:
        embeddings: (B,D).

    Example:
        >>> dead_dimensions(torch.tensor([[1.0, 5.0, 0.0], [2.0, 5.0, 9.0]]))
        1
    """
    deviations = embeddings.std(dim=0, correction=0)
    return int((deviations <= 0.01 * deviations.max()).sum())
