"""Least squares in closed form against scikit-learn, and the noisy loss against its definition."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge, RidgeClassifier

from dml.errors import UserError
from dml.studies import add_bias, expected_noisy_loss, least_squares, numerical_gradient, squared_loss


def _problem(seed=0, rows=40, dim=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(3, 2, size=(rows, dim))
    return x, x @ rng.normal(size=dim) - 5 + rng.normal(size=rows)


def test_with_a_bias_column_it_is_linear_regression():
    x, y = _problem()
    theirs = LinearRegression().fit(x, y)
    np.testing.assert_allclose(least_squares(add_bias(x), y), [theirs.intercept_, *theirs.coef_], rtol=1e-10)


def test_ridge_shrinks_as_scikit_learns_does():
    x, y = _problem()
    for penalty in (0.1, 10.0, 1e4):
        theirs = Ridge(alpha=penalty, fit_intercept=False).fit(x, y).coef_
        np.testing.assert_allclose(least_squares(x, y, ridge=penalty), theirs, rtol=1e-9)


def test_its_sign_decides_as_the_least_squares_classifier():
    rng = np.random.default_rng(1)
    x, asked = rng.normal(size=(60, 2)), rng.normal(size=(500, 2))
    signs = np.where(x[:, 0] + 0.5 * rng.normal(size=60) > 0, 1, -1)
    ours = np.sign(add_bias(asked) @ least_squares(add_bias(x), signs))
    np.testing.assert_array_equal(ours, RidgeClassifier(alpha=0.0).fit(x, signs).predict(asked))


def test_there_the_gradient_is_zero():
    x, y = _problem(2)
    slopes = numerical_gradient(lambda theta: squared_loss(x, y, theta), least_squares(x, y))
    assert np.abs(slopes).max() < 1e-8


def test_noise_of_two_equally_likely_signs_gives_the_closed_form_exactly():
    rng = np.random.default_rng(3)  # one row: all 2³ corners of ±σ are the whole distribution, of covariance σ²I
    x, y, theta, sigma = rng.normal(size=(1, 3)), rng.normal(size=1), rng.normal(size=3), 0.7
    corners = sigma * np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T
    mean = np.mean([squared_loss(x + corner, y, theta) for corner in corners])
    assert expected_noisy_loss(x, y, theta, sigma) == pytest.approx(mean, rel=1e-12)


def test_the_minimiser_of_the_noisy_loss_is_ridge_and_its_limits_are_least_squares_and_zero():
    x, y = _problem(4)
    theta = least_squares(x, y, ridge=len(x) * 0.5**2)
    slopes = numerical_gradient(lambda at: expected_noisy_loss(x, y, at, 0.5), theta)
    assert np.abs(slopes).max() < 1e-8
    np.testing.assert_allclose(least_squares(x, y, ridge=len(x) * 1e-16), least_squares(x, y), rtol=1e-9)
    assert np.abs(least_squares(x, y, ridge=len(x) * 1e12)).max() < 1e-10


def test_mistakes_are_told():
    with pytest.raises(UserError, match="the columns of x depend on each other"):
        least_squares([[1.0, 2.0], [2.0, 4.0]], [1.0, 2.0])
    assert least_squares([[1.0, 2.0], [2.0, 4.0]], [1.0, 2.0], ridge=0.1).shape == (2,)
    with pytest.raises(UserError, match=r"ridge=-1: give"):
        least_squares([[1.0]], [1.0], ridge=-1)
    with pytest.raises(UserError, match=r"ridge=nan"):
        least_squares([[1.0]], [1.0], ridge=float("nan"))
    for x, y in (([[1.0]], [1.0, 2.0]), ([1.0], [1.0]), (np.zeros((0, 1)), [])):
        with pytest.raises(UserError, match=r"give \(N,D\) and \(N,\)"):
            least_squares(x, y)
