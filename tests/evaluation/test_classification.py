"""Precision, recall and F1 beside scikit-learn's, of predictions and of votes whose ties are tried one by one."""

import time

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support
from sklearn.neighbors import KNeighborsClassifier

from dml.errors import UserError
from dml.evaluation import (
    class_record,
    confusion_matrix,
    count_predictions,
    macro_scores,
    mean_scores,
    precision_recall_f1,
    query_scores,
    retrieval_scores,
)
from dml.evaluation.knn_vote import own_class_chances, vote_chances
from dml.neighbors.ranking import Candidates


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice([-3, 0, 2, 9, 11], 40)  # 9: in no prediction; 5: in no label
    predicted = rng.choice([-3, 0, 2, 5, 11], 40)
    found = precision_recall_f1(count_predictions(predicted, labels))
    truth = precision_recall_fscore_support(labels, predicted, zero_division=0)
    for ours, theirs in zip(found[1:], truth, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)
    macro = precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    assert list(macro_scores(count_predictions(predicted, labels)).values()) == pytest.approx(macro[:3])
    assert found.classes.tolist() == sorted({*labels.tolist(), *predicted.tolist()})


def test_votes_of_neighbours_are_scored_like_any_classifier(blobs):
    x, y = blobs
    for k in (1, 4):
        odd = y[100:] * 7 - 20  # labels of any value, of which not all have queries
        found = query_scores(x[:100], y[:100] * 7 - 20, x[100:], odd, ks=(1,), knn_ks=(k, 3))
        peer = KNeighborsClassifier(k, algorithm="brute").fit(x[100:], odd)
        near = odd[peer.kneighbors(x[:100])[1]]
        shares = confusion_matrix(near, y[:100] * 7 - 20)
        scores = precision_recall_f1(found.votes)
        assert scores.classes.tolist() == shares.classes.tolist()
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(scores.recall, shares.shares.diagonal() / shares.shares.sum(axis=1), atol=1e-11)
            np.testing.assert_allclose(
                scores.precision, np.nan_to_num(shares.shares.diagonal() / shares.shares.sum(axis=0)), atol=1e-11
            )
        means = mean_scores(found)
        assert means["knn_macro_f1"] == pytest.approx(scores.f1.mean())
        share = np.average(scores.recall, weights=scores.support)
        assert means["knn_accuracy"] == pytest.approx(share, abs=1e-11)


@pytest.mark.parametrize("seed", range(20))
def test_chances_of_all_classes_add_up_and_hold_the_own(seed):
    rng = np.random.default_rng(seed)
    distance = np.sort(rng.integers(0, 3, (6, 9)).astype(np.float32), axis=1)
    code = rng.integers(0, 4, (6, 9))
    near = Candidates(np.repeat(np.arange(6), 9), distance.ravel(), code.ravel(), np.ones(54, int), distance[:, :5])
    for k in (1, 3, 5):
        for label in range(4):
            own = np.full(6, label)
            votes = vote_chances(own, near, k)
            np.testing.assert_allclose(np.bincount(votes.row, votes.chance), np.ones(6))
            np.testing.assert_array_equal(votes.of(own), own_class_chances(own, near, k))


def test_a_collapse_of_many_unequal_classes_is_counted_in_a_moment():
    y = np.repeat(np.arange(20), np.arange(2, 22))
    start = time.process_time()
    found = query_scores(np.zeros((len(y), 2)), y, knn_ks=(5,))
    assert time.process_time() - start < 5
    scores = precision_recall_f1(found.votes)
    assert found.votes.predicted.sum() == pytest.approx(len(y))
    np.testing.assert_allclose(scores.recall * scores.support, found.votes.correct)
    assert (scores.precision < 0.2).all()


def test_neither_memory_nor_order_changes_a_bit_of_the_macro_scores(blobs):
    x, y = np.rint(blobs[0]), blobs[1]  # many ties
    truth = retrieval_scores(x, y)
    order = np.random.default_rng(0).permutation(len(x))
    assert 0 < truth["knn_macro_precision"] < 1
    assert retrieval_scores(x[order], y[order], max_memory=300_000) == truth


def test_records_name_classes_where_names_are_known():
    counts = count_predictions([1, 1, 0], [1, 0, 0])
    assert class_record(counts, ["ash", "birch"])["ash"] == pytest.approx(
        {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2.0}
    )
    assert list(class_record(counts)) == ["0", "1"]
    assert list(class_record(count_predictions([-5, 7], [-5, 7]), ["ash"])) == ["-5", "7"]
    with pytest.raises(UserError, match="give one each"):
        count_predictions([1, 2], [1])
