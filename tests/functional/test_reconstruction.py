"""Corruption, error and divergence against torch's distributions and plain loops."""

import math

import pytest
import torch
from torch import nn

from dml.errors import UserError
from dml.functional.reconstruction import (
    check_corruption,
    corrupt,
    normal_divergence,
    reconstruction_loss,
    sample_normal,
)


def test_noise_has_the_standard_deviation_it_was_given():
    torch.manual_seed(0)
    noise = corrupt(torch.full((50, 1, 40, 40), 0.3), noise_std=0.2) - 0.3
    assert noise.mean().item() == pytest.approx(0, abs=4 * 0.2 / math.sqrt(80_000))
    assert noise.std().item() == pytest.approx(0.2, rel=0.02)


def test_masking_blackens_its_share_of_positions_in_all_channels():
    torch.manual_seed(0)
    black = corrupt(torch.ones(50, 3, 40, 40), masking=0.25) == 0
    assert bool((black == black[:, :1]).all())
    assert black.float().mean().item() == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 80_000))


def test_without_corruption_nothing_is_drawn():
    state = torch.get_rng_state()
    images = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert corrupt(images) is images
    assert torch.equal(torch.get_rng_state(), state)


def test_the_same_state_of_the_generator_gives_the_same_corruption():
    images = torch.ones(2, 1, 5, 5)
    state = torch.get_rng_state()
    first = corrupt(images, 0.1, 0.5)
    torch.set_rng_state(state)
    assert torch.equal(first, corrupt(images, 0.1, 0.5))


@pytest.mark.parametrize(("noise_std", "masking"), [(-0.1, 0), (0, 1.0), (0, -0.1), (math.nan, 0)])
def test_a_corruption_out_of_range_is_refused(noise_std, masking):
    with pytest.raises(UserError, match="the noise is at least 0"):
        check_corruption(noise_std, masking)


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.L1Loss(), nn.BCELoss()])
def test_the_loss_is_torchs_and_is_computed_in_float32_under_autocast(loss):
    torch.manual_seed(0)
    images, pixels = torch.rand(2, 5, 1, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        value = reconstruction_loss(loss, images, pixels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(images, pixels))


def test_bce_forgives_rounding_and_refuses_what_lies_outside():
    images, loss = torch.full((1, 1, 2, 2), 0.5), nn.BCELoss()
    ends = torch.tensor([-1e-7, 1 + 1e-7, 0.0, 1.0]).view(1, 1, 2, 2)
    assert reconstruction_loss(loss, images, ends).item() == pytest.approx(math.log(2))
    with pytest.raises(UserError, match=r"the pixels reach from -0\.5 to 1"):
        reconstruction_loss(loss, images, torch.tensor([-0.5, 1.0, 0.0, 0.0]).view(1, 1, 2, 2))
    with pytest.raises(UserError, match="the reconstructions reach from 0 to 3"):
        reconstruction_loss(loss, torch.tensor([0.0, 3.0, 1.0, 1.0]).view(1, 1, 2, 2), images)


def test_the_divergence_is_torchs():
    torch.manual_seed(0)
    mean, log_variance = torch.randn(2, 6, 4, dtype=torch.float64)
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    unit = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(normal, unit).sum(dim=1).mean()
    torch.testing.assert_close(normal_divergence(mean, log_variance), expected)
    assert normal_divergence(torch.zeros(3, 2), torch.zeros(3, 2)) == 0


def test_draws_have_the_mean_and_variance_asked_for_and_pass_gradients():
    torch.manual_seed(0)
    mean = torch.tensor([1.0, -2.0]).repeat(40_000, 1).requires_grad_()
    log_variance = torch.tensor([0.0, math.log(4.0)]).repeat(40_000, 1).requires_grad_()
    draws = sample_normal(mean, log_variance)
    torch.testing.assert_close(draws.mean(dim=0), torch.tensor([1.0, -2.0]), atol=0.04, rtol=0)
    torch.testing.assert_close(draws.var(dim=0), torch.tensor([1.0, 4.0]), atol=0, rtol=0.03)
    draws.sum().backward()
    assert bool((mean.grad == 1).all())
    torch.testing.assert_close(log_variance.grad, (draws - mean).detach() / 2)
