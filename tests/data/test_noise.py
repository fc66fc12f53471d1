import pytest
import torch
from scipy.stats import kstest

from dml.data.transforms.random import mix_seed, normals, uniforms


def test_numbers_are_uniform_and_unrelated() -> None:
    draws = uniforms(0, 0, torch.arange(100_000), 4)
    later = uniforms(0, 1, torch.arange(100_000), 4)
    assert 0 <= draws.min() < draws.max() < 1
    torch.testing.assert_close(draws.mean(0), torch.full((4,), 0.5), atol=0.004, rtol=0)
    torch.testing.assert_close(draws.var(0), torch.full((4,), 1 / 12), atol=0.002, rtol=0)
    together = torch.corrcoef(torch.stack([*draws.T, draws[:, 0].roll(1), *later.T]))
    assert (together - torch.eye(len(together))).abs().max() < 0.015


@pytest.mark.parametrize("seed", [0, 1, 2**40, -3])
def test_neighbouring_seeds_and_epochs_differ(seed: int) -> None:
    places = torch.arange(8)
    rows = [uniforms(seed + a, b, places, 2) for a in (0, 1) for b in (0, 1)]
    assert len({tuple(row.flatten().tolist()) for row in rows}) == 4


def test_mixed_seeds_are_whole_numbers_below_two_to_the_63() -> None:
    seeds = {mix_seed(a, b) for a in range(50) for b in range(50)}
    assert len(seeds) == 2500
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_normal_numbers_are_standard_normal_and_kept_by_address() -> None:
    draws = normals(3, 1, torch.arange(20_000), 2)
    assert kstest(draws.flatten().numpy(), "norm").pvalue > 0.01
    assert torch.isfinite(normals(0, 0, torch.arange(1_000_000), 1)).all()
    assert torch.equal(normals(3, 1, torch.tensor([7, 9]), 2), draws[[7, 9]])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_equal_to_the_bit_on_cuda() -> None:
    places = torch.arange(1000)
    assert torch.equal(uniforms(3, 4, places, 5), uniforms(3, 4, places.cuda(), 5).cpu())
