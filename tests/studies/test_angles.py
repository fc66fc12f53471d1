"""Angles against scipy, closed forms and numerical gradients."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import circmean, circvar

from dml.studies.angles import angular_loss, circular_mean, circular_variance, wrapped_difference

TURN = 2 * math.pi
angles = st.lists(st.floats(-20, 20), min_size=1, max_size=30)


def turn(*values):
    return torch.tensor(values, dtype=torch.float64)


@settings(max_examples=100, deadline=None)
@given(angles)
def test_mean_and_variance_are_scipys(values):
    variance = circular_variance(turn(*values)).item()
    assert variance == pytest.approx(circvar(values), abs=1e-12)
    if variance < 1 - 1e-6:  # else the mean's direction is rounding error
        difference = wrapped_difference(circular_mean(turn(*values)), turn(float(circmean(values))))
        assert difference.abs().max() < 1e-8


@pytest.mark.parametrize(
    "values",
    [(0.0, math.pi), (0.3, 0.3 + math.pi), tuple(TURN / 5 * i for i in range(5)), (0.0, TURN / 3, 2 * TURN / 3)],
)
def test_angles_that_cancel_out_have_no_mean_and_variance_one(values):
    assert torch.isnan(circular_mean(turn(*values)))
    assert circular_variance(turn(*values)).item() == pytest.approx(1)


def test_equal_angles_have_variance_zero_and_are_their_mean():
    assert circular_variance(turn(6.0, 6.0 + TURN, 6.0 - TURN)).item() == pytest.approx(0, abs=1e-12)
    assert circular_mean(turn(6.0, 6.0)).item() == pytest.approx(6)
    assert 0 <= circular_mean(turn(-1e-3)).item() < TURN


@settings(max_examples=100, deadline=None)
@given(st.floats(-20, 20), st.floats(-20, 20))
def test_the_difference_is_the_angle_of_the_quotient(a, b):
    difference = wrapped_difference(turn(a), turn(b)).item()
    assert -math.pi - 1e-12 <= difference <= math.pi
    assert np.exp(1j * difference) == pytest.approx(np.exp(1j * (a - b)), abs=1e-9)


@pytest.mark.parametrize(("a", "b"), [(0.0, TURN - 0.1), (TURN - 1e-9, 0.0), (3.0, -3.0), (-1e-9, 1e-9), (7.0, 0.5)])
def test_the_gradient_is_the_same_on_both_sides_of_the_cut(a, b):
    predicted, target = turn(a).requires_grad_(), turn(b).requires_grad_()
    assert torch.autograd.gradcheck(angular_loss, (predicted, target))
    angular_loss(predicted, target).backward()
    assert predicted.grad.item() == pytest.approx(2 * wrapped_difference(turn(a), turn(b)).item())


def test_the_loss_does_not_see_whole_turns():
    predicted, target = turn(0.2, 1.0, 6.2), turn(6.1, -2.0, 0.1)
    expected = angular_loss(predicted, target)
    assert angular_loss(predicted + TURN * turn(1, -3, 2), target).item() == pytest.approx(expected.item())


def test_at_opposite_angles_loss_and_gradient_are_the_largest():
    predicted = turn(math.pi).requires_grad_()
    loss = angular_loss(predicted, turn(0.0))
    loss.backward()
    assert loss.item() == pytest.approx(math.pi**2)
    assert abs(predicted.grad.item()) == pytest.approx(TURN)


def test_descent_turns_the_short_way_across_the_cut():
    predicted = turn(0.2).requires_grad_()
    optimizer = torch.optim.SGD([predicted], lr=0.1)
    for _ in range(50):
        optimizer.zero_grad()
        angular_loss(predicted, turn(TURN - 0.2)).backward()
        optimizer.step()
    assert predicted.item() == pytest.approx(-0.2, abs=1e-4)


def test_mean_and_variance_are_differentiable():
    values = turn(0.1, 6.0, 1.2).requires_grad_()
    assert torch.autograd.gradcheck(circular_mean, values)
    assert torch.autograd.gradcheck(circular_variance, values)
