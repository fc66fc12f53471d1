"""k-NN densities against loops, closed forms and their own integrals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from dml.errors import UserError
from dml.neighbors import KNNClassifier
from dml.studies import KNNBayes, KNNDensity, log_ball_volume


@pytest.mark.parametrize(("dim", "volume"), [(1, 2.0), (2, np.pi), (3, 4 / 3 * np.pi), (4, np.pi**2 / 2)])
def test_unit_balls_have_the_volume_of_the_text_book(dim, volume):
    assert np.exp(log_ball_volume(1.0, dim)) == pytest.approx(volume, rel=1e-14)


@settings(max_examples=20, deadline=None)
@given(dim=st.integers(2, 40), radius=st.floats(0.1, 3.0))
def test_a_ball_is_the_integral_of_its_slices(dim, radius):
    slices = integrate.quad(lambda t: np.exp(log_ball_volume(np.sqrt(radius**2 - t**2), dim - 1)), -radius, radius)[0]
    assert np.exp(log_ball_volume(radius, dim)) == pytest.approx(slices, rel=1e-6)


def test_large_dimensions_do_not_overflow():
    assert np.isfinite(log_ball_volume(np.array([1e-3, 1e3]), 10_000)).all()


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("k", [1, 3, 40])
def test_density_and_left_out_density_equal_a_loop(dim, k):
    rng = np.random.default_rng(dim)
    rows, queries = rng.normal(size=(41, dim)), rng.normal(size=(7, dim))
    unit = np.exp(log_ball_volume(1.0, dim))
    density = KNNDensity(k).fit(rows)
    expected = [k / (41 * unit * np.sort(np.sqrt(((rows - q) ** 2).sum(1)))[k - 1] ** dim) for q in queries]
    np.testing.assert_allclose(np.exp(density.log_density(queries)), expected, rtol=1e-12)
    left_out = []
    for i, row in enumerate(rows):
        others = np.delete(rows, i, axis=0)
        left_out.append(k / (40 * unit * np.sort(np.sqrt(((others - row) ** 2).sum(1)))[k - 1] ** dim))
    np.testing.assert_allclose(np.exp(density.log_density_left_out(rows)), left_out, rtol=1e-12)


def test_it_is_close_to_the_density_the_rows_were_drawn_from():
    rng = np.random.default_rng(0)
    density = KNNDensity(200).fit(rng.normal(size=(20_000, 2)))
    queries = rng.normal(size=(200, 2))
    queries = queries[np.linalg.norm(queries, axis=1) < 2]
    truth = multivariate_normal(np.zeros(2)).logpdf(queries)
    assert np.abs(density.log_density(queries) - truth).mean() < 0.1  # 1/√200 = .07 relative


def _mass(density, side, steps=100):
    step = 2 * side / steps
    middle = np.linspace(-side + step / 2, side - step / 2, steps)
    grid = np.stack(np.meshgrid(middle, middle), axis=-1).reshape(-1, 2)
    return np.exp(density.log_density(grid)).sum() * step**2


def test_it_integrates_to_about_one_near_the_rows_and_falls_too_slowly_beyond():
    density = KNNDensity(40).fit(np.random.default_rng(0).uniform(-1, 1, size=(4000, 2)))
    assert _mass(density, side=1.1) == pytest.approx(1, abs=0.1)
    radius = np.array([1e2, 1e4, 1e6])  # p → k/(N·π·r²), and ∫ 2πr·dr/r² diverges
    tail = np.exp(density.log_density(np.stack([radius, 0 * radius], axis=1))) * 4000 * np.pi * radius**2 / 40
    np.testing.assert_allclose(tail, 1, rtol=0.05)


def test_on_average_it_is_k_by_k_minus_one_too_large():
    rng = np.random.default_rng(0)
    at_the_middle = [KNNDensity(5).fit(rng.uniform(-1, 1, size=(500, 1))).log_density([[0.0]]) for _ in range(2000)]
    assert np.exp(at_the_middle).mean() == pytest.approx(0.5 * 5 / 4, rel=0.05)  # the true density is 1/2


def test_coincident_rows_give_infinity_there_and_nowhere_else():
    density = KNNDensity(2).fit([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    assert np.isposinf(density.log_density([[0.0, 0.0]])).all()
    assert np.isfinite(density.log_density([[0.5, 0.0]])).all()
    assert np.isposinf(
        KNNDensity(1).fit([[0.0], [0.0], [1.0]]).log_density_left_out([[0.0], [0.0], [1.0]])
    ).tolist() == [
        True,
        True,
        False,
    ]


def test_left_out_does_not_depend_on_the_order_of_coincident_rows():
    rows = np.array([[0.0], [2.0], [0.0], [0.0], [5.0]])
    values = KNNDensity(3).fit(rows).log_density_left_out(rows)
    order = np.array([3, 0, 4, 2, 1])
    np.testing.assert_array_equal(KNNDensity(3).fit(rows[order]).log_density_left_out(rows[order]), values[order])


def test_posteriors_are_bayes_rule():
    rng = np.random.default_rng(1)
    rows, labels = rng.normal(size=(60, 3)), np.repeat([4, 7, 9], [10, 20, 30])
    bayes = KNNBayes(5).fit(rows, labels)
    queries = rng.normal(size=(9, 3))
    np.testing.assert_allclose(bayes.priors_, [1 / 6, 1 / 3, 1 / 2])
    joint = bayes.priors_ * np.exp(bayes.log_densities(queries))
    expected = joint / joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(bayes.predict_proba(queries), expected, rtol=1e-10)
    np.testing.assert_array_equal(bayes.predict(queries), np.array([4, 7, 9])[expected.argmax(axis=1)])


def test_with_k_1_it_decides_as_the_nearest_neighbour():
    rng = np.random.default_rng(2)
    rows, labels, queries = rng.normal(size=(50, 2)), rng.integers(0, 3, 50), rng.normal(size=(100, 2))
    ours = KNNBayes(1).fit(rows, labels).predict(queries)
    np.testing.assert_array_equal(ours, KNNClassifier(1).fit(rows, labels).predict(queries))


def test_at_coincident_rows_the_classes_that_meet_there_share_the_probability():
    bayes = KNNBayes(1).fit([[0.0], [0.0], [3.0], [0.0]], [0, 1, 2, 0])
    np.testing.assert_array_equal(bayes.predict_proba([[0.0]]), [[0.5, 0.5, 0.0]])


def test_sums_of_probabilities_are_one_far_away_in_many_dimensions():
    rng = np.random.default_rng(3)
    probabilities = KNNBayes(3).fit(rng.normal(size=(40, 500)), np.arange(40) % 2).predict_proba(np.full((1, 500), 1e6))
    assert probabilities.sum() == pytest.approx(1)


@pytest.mark.parametrize("k", [0, 4])
def test_k_out_of_range_is_told(k):
    with pytest.raises(UserError, match=rf"k={k} for 3 rows: give k between 1 and 3"):
        KNNDensity(k).fit([[0.0], [1.0], [2.0]])


def test_mistakes_are_told():
    rows = [[0.0], [1.0], [2.0]]
    with pytest.raises(UserError, match="one of 3 rows left out: give k between 1 and 2"):
        KNNDensity(3).fit(rows).log_density_left_out(rows)
    with pytest.raises(UserError, match="class 1 has 1 rows: give k up to 1"):
        KNNBayes(2).fit(rows, [0, 0, 1])
    with pytest.raises(UserError, match="3 rows but 2 classes"):
        KNNBayes(1).fit(rows, [0, 1])
    with pytest.raises(UserError, match=r"k=0"):
        KNNBayes(0).fit(rows, [0, 0, 1])


def test_scikit_learn_clones_and_searches_them():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = np.eye(3)[y] + 0.4 * rng.standard_normal((60, 3))
    assert clone(KNNDensity(7)).k == clone(KNNBayes(k=7)).k == 7
    scores = GridSearchCV(KNNBayes(k=1), {"k": np.arange(1, 4)}, cv=3).fit(x, y).cv_results_["mean_test_score"]
    truth = [cross_val_score(KNNBayes(k), x, y, cv=3).mean() for k in (1, 2, 3)]
    np.testing.assert_array_equal(scores, truth)
    assert min(truth) > 0.5
