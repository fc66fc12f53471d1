"""Tells whether tensors hold finite numbers only."""

from collections.abc import Iterable

import torch
from torch import Tensor


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Tell whether no tensor holds NaN or infinity.

    Args:
        tensors: Of any shape; whole numbers are skipped.

    Example:
        >>> all_finite([torch.ones(2), torch.tensor([3])]), all_finite([torch.tensor([float("nan")])])
        (True, False)
    """
    floating = [tensor for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    return all(bool(torch.isfinite(tensor).all()) for tensor in floating)
