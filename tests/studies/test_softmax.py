"""Softmax regression against torch's autograd, scikit-learn and loops; its chain of derivatives against differences."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from dml.errors import UserError
from dml.studies import (
    add_bias,
    logits_by_parameters,
    loss_by_probabilities,
    numerical_gradient,
    probabilities_by_logits,
    relative_error,
    softmax_accuracy,
    softmax_descent,
    softmax_loss,
    softmax_loss_by_loops,
    stable_softmax,
)


def _problem(seed=0, rows=30, dim=5, classes=4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(classes, dim + 1)), add_bias(rng.normal(size=(rows, dim))), rng.integers(0, classes, rows)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_loss_and_gradient_are_torchs(reduction):
    theta, x, y = _problem()
    weights = torch.tensor(theta, requires_grad=True)
    theirs = torch.nn.functional.cross_entropy(
        torch.from_numpy(x) @ weights.T, torch.from_numpy(y), reduction=reduction
    )
    theirs.backward()
    loss, gradient = softmax_loss(theta, x, y, reduction)
    assert loss == pytest.approx(theirs.item(), rel=1e-13)
    np.testing.assert_allclose(gradient, weights.grad.numpy(), atol=1e-13)


def test_loops_and_the_vectorised_form_agree():
    theta, x, y = _problem(1)
    looped, vectorised = softmax_loss_by_loops(theta, x, y), softmax_loss(theta, x, y)
    assert looped[0] == pytest.approx(vectorised[0], rel=1e-13)
    np.testing.assert_allclose(looped[1], vectorised[1], atol=1e-14)


def test_the_gradient_agrees_with_central_differences_as_the_reference_asks():
    theta, x, y = _problem(2)
    found = numerical_gradient(lambda at: softmax_loss(at, x, y)[0], theta)
    assert relative_error(found, softmax_loss(theta, x, y)[1]) < 4e-7


def test_huge_logits_overflow_neither_loss_nor_gradient_nor_probabilities():
    theta, x = np.array([[0.0, 1e4], [0.0, 0.0], [0.0, -1e4]]), np.array([[1.0, 1.0]])
    loss, gradient = softmax_loss(theta, x, [1])
    assert loss == 1e4
    np.testing.assert_array_equal(gradient[:, 1], [1, -1, 0])
    np.testing.assert_array_equal(stable_softmax([1e4, 0.0, -1e4]), [1, 0, 0])
    assert softmax_loss_by_loops(theta, x, [1])[0] == 1e4


def test_zero_parameters_favour_no_class():
    _, x, y = _problem(3, classes=10)
    assert softmax_loss(np.zeros((10, 6)), x, y)[0] == pytest.approx(math.log(10), rel=1e-14)


def test_each_link_of_the_chain_is_its_differences_and_their_product_the_gradient():
    theta, x, y = _problem(4, rows=1)
    theta *= 0.3  # no probability so small that a step of 1e-5 is a share of it
    row, label, logits = x[0], int(y[0]), theta @ x[0]
    p = stable_softmax(logits)
    by_p, by_g, by_theta = loss_by_probabilities(p, label), probabilities_by_logits(p), logits_by_parameters(row, 4)
    np.testing.assert_allclose(numerical_gradient(lambda at: -math.log(at[label]), p), by_p, rtol=1e-6)
    for c in range(4):
        found = numerical_gradient(lambda at, c=c: stable_softmax(at)[c], logits)
        np.testing.assert_allclose(found, by_g[c], atol=1e-10)
        found = numerical_gradient(lambda at, c=c: float((at @ row)[c]), theta)
        np.testing.assert_allclose(found, by_theta[c], atol=1e-9)
    whole = np.einsum("c,cj,jid->id", by_p, by_g, by_theta)
    np.testing.assert_allclose(whole, np.outer(p - np.eye(4)[label], row), atol=1e-13)
    np.testing.assert_allclose(whole, softmax_loss(theta, x, y)[1], atol=1e-13)


def test_descent_reaches_what_logistic_regression_finds():
    theta, x, y = _problem(5, rows=300, dim=2, classes=3)
    y = (x @ theta[:3].T + np.random.default_rng(0).gumbel(size=(300, 3))).argmax(axis=1)  # not separable
    *_, (_, found) = softmax_descent(np.zeros((3, 3)), x, y, rate=1.0, steps=2000)
    theirs = LogisticRegression(C=1e9, tol=1e-10, max_iter=10_000).fit(x[:, 1:], y)
    np.testing.assert_allclose(stable_softmax(x @ found.T), theirs.predict_proba(x[:, 1:]), atol=1e-3)
    assert softmax_accuracy(found, x, y) == pytest.approx(theirs.score(x[:, 1:], y))


def test_a_step_of_the_sum_is_n_steps_of_the_mean():
    theta, x, y = _problem(6)
    steps = (
        next(softmax_descent(theta, x, y, rate, steps=1, reduction=reduction))
        for rate, reduction in ((0.3, "mean"), (0.01, "sum"))
    )
    (mean, after), (total, likewise) = steps
    assert total == pytest.approx(30 * mean)
    np.testing.assert_allclose(after, likewise, rtol=1e-12)


def test_rates_go_with_the_square_of_the_pixels_scale():
    theta, x, y = _problem(7)
    theta[:, 0], x[:, 0] = 0, 0  # without bias: its input is 1 in every unit
    scaled = theta / 255
    plain = [loss for loss, _ in softmax_descent(theta, x, y, 0.5, 20, batch_size=8)]
    large = [loss for loss, _ in softmax_descent(scaled, 255 * x, y, 0.5 / 255**2, 20, batch_size=8)]
    np.testing.assert_allclose(plain, large, rtol=1e-10)


def test_batches_are_the_seeds_and_single_precision_stays():
    theta, x, y = (values.astype(np.float32) if values.dtype == np.float64 else values for values in _problem(8))
    runs = [[loss for loss, _ in softmax_descent(theta, x, y, 0.1, 5, batch_size=4, seed=seed)] for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert next(softmax_descent(theta, x, y, 0.1, 1))[1].dtype == np.float32
    assert theta.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"theta": np.zeros((4, 5))}, "do not fit"),
        ({"y": [0]}, "30 rows but classes of shape"),
        ({"y": np.full(30, 4)}, "theta has rows for 0 to 3"),
        ({"y": np.full(30, -1)}, "classes from -1"),
        ({"reduction": "max"}, "unknown reduction 'max'"),
    ],
)
def test_mistakes_are_told(change, words):
    theta, x, y = _problem()
    with pytest.raises(UserError, match=words):
        softmax_loss(**{"theta": theta, "x": x, "y": y, **change})
