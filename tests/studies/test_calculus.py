"""Chains, stationary points and descent, against torch's own composition, autograd and closed forms."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd.functional import hessian
from torch.func import grad

from dml.errors import UserError
from dml.studies.calculus import (
    compose_affine,
    derivative_of_arguments,
    derivative_of_chain,
    derivative_of_nest,
    derivative_of_sums,
    gradient_descent,
    stationary_point,
)


@settings(deadline=None, max_examples=20)
@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5), bias=st.booleans(), seed=st.integers(0, 99))
def test_a_chain_of_affine_maps_is_one(sizes, bias, seed):
    torch.manual_seed(seed)
    layers = [nn.Linear(a, b, bias=bias, dtype=torch.float64) for a, b in pairwise(sizes)]
    weight, offset = compose_affine(layers)
    x = torch.randn(7, sizes[0], dtype=torch.float64)
    torch.testing.assert_close(x @ weight.T + offset, nn.Sequential(*layers)(x))
    assert bias or not offset.any()


def test_a_chain_has_a_map():
    with pytest.raises(UserError, match="layers is empty"):
        compose_affine([])


@pytest.mark.parametrize("at", [-1.3, 0.0, 0.4, 2.0])
def test_the_chain_rules_agree_with_autograd(at):
    x, y, z = torch.tensor([at, 0.7, -1.1], dtype=torch.float64)

    def three(a, b, c):
        return torch.sin(a) * b.square() + c * a * b

    rule = derivative_of_arguments(three, x, y, z)
    torch.testing.assert_close(rule, grad(lambda x: three(x + y, 2 * x, z))(x))
    f, g, h = torch.sin, torch.tanh, lambda u: u**3 - u
    torch.testing.assert_close(derivative_of_chain([f, g, h], x), grad(lambda x: f(g(h(x))))(x))
    torch.testing.assert_close(derivative_of_sums(f, g, h, x), grad(lambda x: f(x + g(x + h(x))))(x))

    def pair(a, b):
        return torch.cos(a * b) + a

    nested = derivative_of_nest([pair, torch.mul, pair, h], x)
    torch.testing.assert_close(nested, grad(lambda x: pair(x, x * pair(x, h(x))))(x))


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda x: x[0] ** 2 + 3 * x[1] ** 2 + x[0] * x[1], "minimum"),
        (lambda x: -(x[0] ** 2) - x[1] ** 2, "maximum"),
        (lambda x: x[0] ** 2 - x[1] ** 2, "saddle point"),
        (lambda x: x[0] ** 2 + x[1] ** 4, "undecided"),
        (lambda x: x[0] ** 3 + x[1] ** 3, "undecided"),
    ],
)
def test_stationary_points_by_their_hessian(function, kind):
    origin = torch.zeros(2, dtype=torch.float64)
    assert not grad(function)(origin).any()
    assert stationary_point(hessian(function, origin)) == kind


def test_descent_stops_where_its_criterion_says():
    # f = ½ x², x ← (1 − rate)·x: xₙ = .9ⁿ, so |∇f| < 1e-3 at n = 66, the change .095·.81ⁿ⁻¹ < 1e-3 at n = 23
    parabola = {"function": lambda x: 0.5 * x.square().sum(), "start": torch.ones(1, dtype=torch.float64), "rate": 0.1}
    by_gradient = gradient_descent(**parabola, criterion="gradient", tolerance=1e-3, max_steps=1000)
    assert (by_gradient.steps, by_gradient.stopped) == (66, True)
    assert float(by_gradient.point) == pytest.approx(0.9**66)
    by_change = gradient_descent(**parabola, criterion="change", tolerance=1e-3, max_steps=1000)
    assert (by_change.steps, by_change.stopped) == (23, True)
    by_steps = gradient_descent(**parabola, criterion="steps", tolerance=0.0, max_steps=10)
    assert (by_steps.steps, by_steps.stopped) == (10, False)
    assert by_steps.value == pytest.approx(0.5 * 0.9**20)
    assert by_steps.gradient_norm == pytest.approx(0.9**10)
