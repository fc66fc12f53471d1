"""The hinge loss against scikit-learn's, differences and a loop; differences and distances by loops against others'."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.metrics import hinge_loss as sklearn_hinge_loss

from dml.errors import UserError
from dml.functional.distances import squared_distances
from dml.studies import distances_by_loops, hinge_loss, numerical_gradient, relative_error


def _problem():
    rng = np.random.default_rng(0)
    return rng.normal(size=3), 0.4, rng.normal(size=(50, 3)), rng.choice([-1, 1], 50)


def test_the_loss_is_scikit_learns():
    w, b, x, y = _problem()
    assert hinge_loss(w, b, x, y)[0] == pytest.approx(sklearn_hinge_loss(y, x @ w + b), rel=1e-13)


def test_both_gradients_are_central_differences():
    w, b, x, y = _problem()
    _, by_w, by_b = hinge_loss(w, b, x, y)
    assert relative_error(by_w, numerical_gradient(lambda at: hinge_loss(at, b, x, y)[0], w)) < 1e-9
    assert by_b == pytest.approx(float(numerical_gradient(lambda at: hinge_loss(w, at, x, y)[0], b)), rel=1e-9)


def test_at_the_kink_a_row_pulls_no_more():
    assert hinge_loss([1.0], 0.0, [[1.0]], [1])[1:] == (0.0, 0.0)
    assert hinge_loss([1.0], 0.0, [[0.999]], [1])[2] == -1.0


def test_mistakes_are_told():
    w, b, x, y = _problem()
    with pytest.raises(UserError, match="other than −1 and 1"):
        hinge_loss(w, b, x, (y + 1) // 2)
    with pytest.raises(UserError, match="do not fit"):
        hinge_loss(w[:2], b, x, y)


def test_differences_of_chosen_places_are_those_of_all_and_x_stays_as_it_was():
    at = np.arange(6.0).reshape(2, 3)
    every = numerical_gradient(lambda x: float((x**3).sum()), at)
    np.testing.assert_allclose(every, 3 * np.arange(6.0).reshape(2, 3) ** 2, atol=1e-8)
    np.testing.assert_array_equal(
        numerical_gradient(lambda x: float((x**3).sum()), at, places=[4, 1]), every.flat[[4, 1]]
    )
    np.testing.assert_array_equal(at, np.arange(6.0).reshape(2, 3))


def test_loops_scipy_and_the_product_give_the_same_distances():
    rng = np.random.default_rng(1)
    q, r = rng.integers(0, 256, (7, 30)).astype(float), rng.integers(0, 256, (9, 30)).astype(float)
    looped = distances_by_loops(q, r)
    np.testing.assert_allclose(looped, cdist(q, r), rtol=1e-14)
    product = squared_distances(torch.from_numpy(q), torch.from_numpy(r)).sqrt().numpy()
    assert np.linalg.norm(looped - product) < 1e-9
