"""Cross-validation against scikit-learn's, one fit per k and fold."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from dml.errors import UserError
from dml.studies import cross_validate


def test_agrees_with_scikit_learn():
    x, y = load_digits(return_X_y=True)
    x = x + 0.01 * np.random.default_rng(0).standard_normal(x.shape)  # no ties
    ks = (1, 3, 7, 10)
    names = {"l1": "cityblock", "l2": "euclidean", "linf": "chebyshev"}
    ours = cross_validate(x, y, ks, tuple(names), folds=3)
    for m, name in enumerate(names.values()):
        for i, k in enumerate(ks):
            peer = KNeighborsClassifier(k, metric=name, algorithm="brute")
            truth = 1 - cross_val_score(peer, x, y, cv=KFold(3))
            np.testing.assert_allclose(ours.errors[m, i], truth, atol=1e-12)
    means = ours.errors.mean(axis=2)
    assert means[ours.metrics.index(ours.metric), ours.ks.index(ours.k)] == means.min()


def test_a_seed_gives_the_same_folds():
    x, y = load_digits(return_X_y=True)
    one, two = (cross_validate(x, y, [5], seed=3).errors for _ in range(2))
    assert (one == two).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ks": []}, "each k must lie between 1 and the 6 rows"),
        ({"ks": [0]}, "each k"),
        ({"ks": [7]}, "each k"),
        ({"folds": 1}, "1 folds"),
        ({"y": [0, 1]}, "9 rows but 2 classes"),
        ({"metrics": ["l9"]}, "unknown metric"),
    ],
)
def test_bad_input_is_one_clear_line(change, words):
    with pytest.raises(UserError, match=words):
        cross_validate(**{"x": np.eye(9), "y": np.arange(9), "ks": [1], "folds": 3, **change})
