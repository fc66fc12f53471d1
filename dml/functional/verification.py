"""Verification scores from two histograms of distances, same-class and different-class pairs."""

import torch
from torch import Tensor


def roc_auc(same: Tensor, different: Tensor) -> float:
    """Return the chance that a same-class pair is closer than a different-class pair; pairs of one bin count a half.

    Args:
        same: Same-class pairs in each bin of distance, nearest bin first, int64 (bins,).
        different: Different-class pairs, int64 (bins,).

    Example:
        >>> roc_auc(torch.tensor([2, 1]), torch.tensor([0, 3]))
        0.8333333333333334
    """
    farther = different.sum() - different.cumsum(0)
    wins = (same.double() * (farther.double() + 0.5 * different)).sum()
    return float(wins / (same.sum().double() * different.sum()))


def error_rates(same: Tensor, different: Tensor) -> tuple[Tensor, Tensor]:
    """Return the false match and false non-match rates (bins + 1,) of accepting no bin, the first, and so on.

    Example:
        >>> false_match, false_non_match = error_rates(torch.tensor([2, 1]), torch.tensor([0, 3]))
        >>> false_match.tolist()
        [0.0, 0.0, 1.0]
    """
    zero = torch.zeros(1, dtype=torch.int64)
    false_match = torch.cat([zero, different.cumsum(0)]).double() / different.sum()
    false_non_match = 1 - torch.cat([zero, same.cumsum(0)]).double() / same.sum()
    return false_match, false_non_match


def equal_error_rate(same: Tensor, different: Tensor) -> float:
    """Return the rate at which false matches are as frequent as false non-matches, interpolated between two bins.

    Example:
        >>> equal_error_rate(torch.tensor([5, 0, 0]), torch.tensor([0, 0, 5]))
        0.0
    """
    false_match, false_non_match = error_rates(same, different)
    gap = false_match - false_non_match  # from −1 to 1, never falling
    right = max(1, int(torch.searchsorted(gap, 0.0)))
    share = -gap[right - 1] / (gap[right] - gap[right - 1])
    return float(false_match[right - 1] + share * (false_match[right] - false_match[right - 1]))


def fnmr_at_fmr(same: Tensor, different: Tensor, rate: float) -> float:
    """Return the smallest false non-match rate with a false match rate of at most `rate`, in [0, 1].

    Example:
        >>> fnmr_at_fmr(torch.tensor([2, 1, 0]), torch.tensor([0, 1, 9]), 0.01)
        0.33333333333333337
    """
    false_match, false_non_match = error_rates(same, different)
    return float(false_non_match[int((false_match <= rate).sum()) - 1])
