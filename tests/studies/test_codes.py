"""Paths between codes and correlations, against scipy, numpy and closed forms; degenerate codes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import geometric_slerp

from dml.errors import UserError
from dml.studies.codes import (
    correlation_matrix,
    correlation_summary,
    interpolate_linear,
    interpolate_spherical,
)

BOTH = pytest.mark.parametrize("interpolate", [interpolate_linear, interpolate_spherical])


@BOTH
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 999),
    dim=st.integers(2, 12),
    steps=st.integers(2, 9),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_a_path_begins_and_ends_where_it_should_and_reversed_it_is_the_same(interpolate, seed, dim, steps, scale):
    start, end = scale * torch.randn(2, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    path = interpolate(start, end, steps)
    assert path.shape == (steps, dim)
    torch.testing.assert_close(path[0], start, rtol=1e-9, atol=0)
    torch.testing.assert_close(path[-1], end, rtol=1e-9, atol=0)
    torch.testing.assert_close(interpolate(end, start, steps).flip(0), path, rtol=1e-9, atol=1e-9 * scale)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999), dim=st.integers(2, 12))
def test_unit_codes_go_the_way_scipy_goes(seed, dim):
    start, end = np.random.default_rng(seed).normal(size=(2, dim))
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    expected = geometric_slerp(start, end, np.linspace(0, 1, 7))
    path = interpolate_spherical(torch.from_numpy(start), torch.from_numpy(end), 7)
    np.testing.assert_allclose(path.numpy(), expected, atol=1e-9)


def test_lengths_change_linearly_and_angles_are_equal():
    start, end = torch.tensor([1.0, 0.0, 0.0]).double(), torch.tensor([0.0, 5.0, 5.0]).double()
    path = interpolate_spherical(start, end, 6)
    lengths = path.norm(dim=1)
    torch.testing.assert_close(lengths, torch.linspace(1, math.sqrt(50), 6).double())
    units = path / lengths[:, None]
    angles = (units[1:] * units[:-1]).sum(dim=1).arccos()
    torch.testing.assert_close(angles, torch.full((5,), math.pi / 10).double())


def test_parallel_codes_take_the_straight_line():
    start = torch.tensor([1.0, 2.0, 2.0])
    torch.testing.assert_close(interpolate_spherical(start, 3 * start, 4), interpolate_linear(start, 3 * start, 4))
    assert torch.equal(interpolate_spherical(start, start, 3), start.repeat(3, 1))


@pytest.mark.parametrize("dim", [2, 3, 7])
def test_antiparallel_codes_take_a_half_circle(dim):
    start = torch.arange(1.0, dim + 1).double()
    path = interpolate_spherical(start, -start, 9)
    torch.testing.assert_close(path.norm(dim=1), start.norm().expand(9))
    steps = (path[1:] - path[:-1]).norm(dim=1)
    torch.testing.assert_close(steps, steps[:1].expand(8))
    torch.testing.assert_close(path[-1], -start)


def test_nearly_equal_codes_stay_right():
    start = torch.tensor([1.0, 1.0]).double()
    end = start + torch.tensor([0.0, 1e-9]).double()
    torch.testing.assert_close(
        interpolate_spherical(start, end, 5), interpolate_linear(start, end, 5), rtol=1e-14, atol=0
    )


@pytest.mark.parametrize(("start", "end"), [([0.0, 0.0], [1.0, 2.0]), ([1.0, 2.0], [0.0, 0.0]), ([0.0], [0.0])])
def test_a_code_without_length_takes_the_straight_line(start, end):
    start, end = torch.tensor(start), torch.tensor(end)
    torch.testing.assert_close(interpolate_spherical(start, end, 5), interpolate_linear(start, end, 5))


def test_one_dimension_has_no_arc_through_zero():
    with pytest.raises(UserError, match="have no arc between them"):
        interpolate_spherical(torch.tensor([1.0]), torch.tensor([-1.0]), 3)


@BOTH
@pytest.mark.parametrize(("start", "end", "steps"), [((2,), (2,), 1), ((2,), (3,), 5), ((1, 2), (1, 2), 5)])
def test_paths_that_cannot_be_are_refused(interpolate, start, end, steps):
    with pytest.raises(UserError, match="cannot interpolate"):
        interpolate(torch.ones(start), torch.ones(end), steps)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), dim=st.integers(1, 8), offset=st.sampled_from([0.0, 1e3]))
def test_the_matrix_is_numpys(seed, dim, offset):
    rows = np.random.default_rng(seed).normal(size=(20, dim)) @ np.random.default_rng(seed + 1).normal(size=(dim, dim))
    expected = np.atleast_2d(np.corrcoef(rows + offset, rowvar=False))
    np.testing.assert_allclose(correlation_matrix(torch.from_numpy(rows + offset)).numpy(), expected, atol=1e-9)


def test_the_summaries_are_numpys():
    rows = np.random.default_rng(0).normal(size=(50, 6)) @ np.random.default_rng(1).normal(size=(6, 6))
    matrix = np.corrcoef(rows, rowvar=False)
    summary = correlation_summary(torch.from_numpy(matrix))
    off = matrix - np.eye(6)
    assert summary.norm == pytest.approx(np.linalg.norm(matrix))
    assert summary.off_diagonal_norm == pytest.approx(np.linalg.norm(off))
    assert summary.norm**2 == pytest.approx(6 + summary.off_diagonal_norm**2)
    assert summary.determinant == pytest.approx(np.linalg.det(matrix))
    assert summary.log_determinant == pytest.approx(math.log(np.linalg.det(matrix)))
    assert summary.mean_absolute == pytest.approx(np.abs(off[~np.eye(6, dtype=bool)]).mean())
    assert summary.num_constant == 0


@pytest.mark.parametrize("dim", [5, 50])
@pytest.mark.parametrize("r", [0.0, 0.3])
def test_at_equal_correlations_only_the_mean_is_the_same_for_any_dimension(dim, r):
    matrix = torch.full((dim, dim), r, dtype=torch.float64).fill_diagonal_(1.0)
    summary = correlation_summary(matrix)
    assert summary.mean_absolute == pytest.approx(r)
    assert summary.norm == pytest.approx(math.sqrt(dim + dim * (dim - 1) * r**2))
    closed = math.log1p((dim - 1) * r) + (dim - 1) * math.log1p(-r)
    assert summary.log_determinant == pytest.approx(closed, abs=1e-9)


def test_constant_dimensions_are_left_out_and_counted():
    rows = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    with_constant = torch.cat([rows[:, :2], torch.full((30, 1), 0.1), rows[:, 2:], torch.zeros(30, 1)], dim=1)
    matrix = correlation_matrix(with_constant)
    assert torch.isnan(matrix[2]).all()
    assert torch.isnan(matrix[:, 4]).all()
    expected = correlation_summary(correlation_matrix(rows))
    summary = correlation_summary(matrix)
    assert summary.num_constant == 2
    assert summary[:-1] == pytest.approx(expected[:-1])


def test_a_repeated_dimension_has_determinant_zero():
    rows = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    summary = correlation_summary(correlation_matrix(torch.cat([rows, rows[:, :1]], dim=1)))
    assert summary.determinant == pytest.approx(0, abs=1e-12)
    assert summary.log_determinant < -20


@pytest.mark.parametrize("constant", [1, 2])
def test_fewer_than_two_dimensions_have_no_correlation(constant):
    rows = torch.cat([torch.randn(9, 2 - constant), torch.ones(9, constant)], dim=1)
    summary = correlation_summary(correlation_matrix(rows))
    assert summary.mean_absolute == summary.off_diagonal_norm == 0
    assert summary.determinant == 1
    assert summary.num_constant == constant


@pytest.mark.parametrize("shape", [(1, 3), (5,)])
def test_too_few_codes_are_refused(shape):
    with pytest.raises(UserError, match="at least two codes"):
        correlation_matrix(torch.zeros(shape))
