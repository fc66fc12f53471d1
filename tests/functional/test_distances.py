"""Distances against differences in float64, most of all where embeddings have collapsed."""

import pytest
import torch

from dml.functional.distances import squared_distances


def differences(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x.double()[:, None] - y.double()).square().sum(dim=2)


@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-5])
@pytest.mark.parametrize("offset", [0.0, 1.0, 30.0])
def test_one_collapsed_cloud(spread: float, offset: float) -> None:
    points = offset + spread * torch.randn(40, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(squared_distances(points), differences(points, points), rtol=1e-7, atol=0)


def test_classes_collapsed_to_points_far_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 64, generator=generator).repeat_interleave(10, dim=0)
    points = centres + 1e-5 * torch.randn(40, 64, generator=generator)
    torch.testing.assert_close(squared_distances(points), differences(points, points), rtol=1e-5, atol=0)


def test_duplicates_are_at_distance_zero() -> None:
    points = torch.randn(20, 32, generator=torch.Generator().manual_seed(0)).repeat(2, 1)
    assert (squared_distances(points)[:20, 20:].diagonal() == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loses_nothing_beyond_its_inputs(dtype: torch.dtype) -> None:
    points = (100 + torch.randn(20, 32, generator=torch.Generator().manual_seed(0))).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = squared_distances(points, points[:5])
    torch.testing.assert_close(ours, differences(points, points[:5]))


def test_gradcheck() -> None:
    x, y = (torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (4, 5))
    assert torch.autograd.gradcheck(squared_distances, (x, y))
    assert torch.autograd.gradcheck(squared_distances, x)
