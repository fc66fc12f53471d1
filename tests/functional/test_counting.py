"""Counts and sums by sorting against comparing everything with everything."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dml.functional import counting

VALUES = st.sampled_from([0.0, 0.25, 1.0, 1.0, 2.5, 7.0])  # ties are meant


def rows(values: st.SearchStrategy[float], least: int) -> st.SearchStrategy[Tensor]:
    return st.lists(values, min_size=least, max_size=30).map(
        lambda row: torch.tensor([row, row[::-1]], dtype=torch.float64)
    )


@pytest.mark.parametrize("direct_up_to", [0, 99])
@given(
    thresholds=rows(VALUES | st.just(-torch.inf), 1),
    distances=rows(VALUES | st.just(torch.inf), 1),
    strict=st.booleans(),
)
def test_counts_and_excess(direct_up_to: int, thresholds: Tensor, distances: Tensor, strict: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "DIRECT_UP_TO", direct_up_to)
        per_threshold, per_distance = counting.counts_below(thresholds, distances, strict)
        excess = counting.excess_below(thresholds, distances)
    t, d = thresholds[:, :, None], distances[:, None, :]
    above = (t > d) if strict else (t >= d)
    assert (per_threshold == above.sum(dim=2)).all()
    assert (per_distance == above.sum(dim=1)).all()
    truth = (t - d).clamp(min=0)
    torch.testing.assert_close(excess[0], truth.sum(dim=2))
    torch.testing.assert_close(excess[1], truth.sum(dim=1))
    assert excess[2] == (truth > 0).sum()
