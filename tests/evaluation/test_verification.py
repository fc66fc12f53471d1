"""Verification against all pairs at once."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.metrics import roc_auc_score, roc_curve

from dml.errors import UserError
from dml.evaluation import verification_scores


def test_agrees_with_scikit_learn_on_all_pairs(blobs):
    x, y = blobs
    distances = pdist(x.astype(np.float64), "sqeuclidean")
    left, right = np.triu_indices(len(x), 1)
    same = y[left] == y[right]
    scores = verification_scores(x, y, rates=(0.01, 0.1), max_memory="5MB")
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(same, -distances), abs=1e-4)
    false_match, hits, _ = roc_curve(same, -distances, drop_intermediate=False)
    at = np.argmin(np.abs(false_match - (1 - hits)))
    assert scores["equal_error_rate"] == pytest.approx(false_match[at], abs=2e-3)
    for rate in (0.01, 0.1):
        truth = 1 - hits[false_match <= rate].max()
        assert scores[f"fnmr_at_fmr_{rate:g}"] == pytest.approx(truth, abs=2e-3)


def test_equal_embeddings_are_chance():
    scores = verification_scores(np.ones((20, 3)), np.arange(20) % 4)
    assert scores == {"roc_auc": 0.5, "equal_error_rate": 0.5, "fnmr_at_fmr_0.001": 1.0}


def test_one_class_is_refused():
    with pytest.raises(UserError, match="one class"):
        verification_scores(np.eye(3), [1, 1, 1])
    with pytest.raises(UserError, match="between 0 and 1"):
        verification_scores(np.eye(3), [1, 1, 2], rates=(0,))


def test_queries_of_classes_without_a_reference_are_left_out():
    known = verification_scores([[0.0], [0.9]], [0, 1], [[0.1], [1.0]], [0, 1])
    with_others = verification_scores([[0.0], [0.05], [0.9]], [0, 7, 1], [[0.1], [1.0]], [0, 1])
    assert with_others == known
