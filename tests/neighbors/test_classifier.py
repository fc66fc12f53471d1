"""The classifier beside scikit-learn's own, and scikit-learn's checks of an estimator."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from dml.errors import UserError
from dml.neighbors import KNNClassifier


@parametrize_with_checks([KNNClassifier(), KNNClassifier(k=3, metric="l1", weights="distance")])
def test_keeps_the_estimator_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ["l1", "l2", "linf", "cosine"])
@pytest.mark.parametrize("k", [1, 5, 36])
def test_agrees_with_scikit_learn(weights, metric, k):
    names = {"l1": "cityblock", "l2": "euclidean", "linf": "chebyshev", "cosine": "cosine"}
    rng = np.random.default_rng(0)
    x, y = load_digits(return_X_y=True)
    x = x + 0.01 * rng.standard_normal(x.shape)  # without ties, whose order scikit-learn leaves open
    peer = KNeighborsClassifier(k, metric=names[metric], weights=weights, algorithm="brute").fit(x[:1000], y[:1000])
    ours = KNNClassifier(k, metric=metric, weights=weights).fit(x[:1000], y[:1000])
    assert (ours.predict(x[1000:]) == peer.predict(x[1000:])).all()
    np.testing.assert_allclose(ours.predict_proba(x[1000:]), peer.predict_proba(x[1000:]), atol=1e-5)


def test_temperature_runs_from_the_nearest_to_uniform():
    x, y = load_digits(return_X_y=True)
    votes = [KNNClassifier(9, weights="temperature", temperature=t).fit(x[:900], y[:900]) for t in (1e-9, 1e9)]
    assert (votes[0].predict(x[900:]) == KNNClassifier(1).fit(x[:900], y[:900]).predict(x[900:])).all()
    uniform = KNNClassifier(9).fit(x[:900], y[:900]).predict_proba(x[900:])
    np.testing.assert_allclose(votes[1].predict_proba(x[900:]), uniform, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": 0}, "must be positive"),
        ({"k": 9}, "larger than the 3 training rows"),
        ({"metric": "l7"}, "unknown metric"),
        ({"weights": "rank"}, "unknown weights"),
        ({"temperature": 0.0}, "must be positive"),
    ],
)
def test_bad_parameters_are_one_clear_line(change, words):
    x = np.ones((3, 2))
    with pytest.raises(UserError, match=words):
        KNNClassifier(**change).fit(x, [0, 1, 1]).predict(x)


def test_a_search_over_numbers_of_numpy_has_scores():
    x, y = load_digits(return_X_y=True)
    found = GridSearchCV(KNNClassifier(), {"k": np.arange(1, 6, 2)}, cv=3).fit(x[:300], y[:300]).cv_results_
    peer = GridSearchCV(KNeighborsClassifier(algorithm="brute"), {"n_neighbors": [1, 3, 5]}, cv=3)
    truth = peer.fit(x[:300], y[:300])
    np.testing.assert_allclose(found["mean_test_score"], truth.cv_results_["mean_test_score"], atol=0.01)
    with pytest.raises(UserError, match=r"k=2\.5: give a whole number"):
        KNNClassifier(k=2.5).fit(x[:300], y[:300])


def test_tensors_are_as_good_as_arrays():
    x, y = (torch.from_numpy(part) for part in load_digits(return_X_y=True))
    fitted = KNNClassifier(k=3).fit(x[:900], y[:900])
    expected = KNeighborsClassifier(3).fit(x[:900].numpy(), y[:900].numpy()).score(x[900:].numpy(), y[900:].numpy())
    assert fitted.score(x[900:], y[900:]) == pytest.approx(expected, abs=2e-3)
    assert fitted.score(x[900:], y[900:]) == fitted.score(x[900:].numpy(), y[900:].tolist())
