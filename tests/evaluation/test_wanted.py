"""Scores asked for alone against the same scores of the whole ranking: equal to the last bit."""

import numpy as np
import pytest

from dml.errors import UserError
from dml.evaluation import query_scores, retrieval_scores
from dml.evaluation.wanted import score_names
from dml.neighbors.index import search_nearest

pytestmark = pytest.mark.usefixtures("each_way")
KS, KNN_KS = (1, 7), (1, 9)
NEAREST = ["recall_at_1", "recall_at_7", "precision_at_7", "r_precision", "map_at_r", "knn_accuracy"]


def samples(blobs, kind):
    x, y = blobs
    if kind == "small classes":
        y = np.arange(len(x)) // 3
    if kind == "collapsed":
        x = 1 + 1e-6 * x
    if kind == "whole numbers":
        x = np.rint(x)
    if kind == "far from zero":
        x = x + 1e3
    if kind == "equal":
        x = np.zeros_like(x)
    return np.concatenate([x, x[:60]]).astype(np.float32), np.concatenate([y, y[30:90]])  # duplicates too


@pytest.mark.parametrize(
    "kind", ["blobs", "small classes", "collapsed", "whole numbers", "far from zero", "equal", "float64"]
)
@pytest.mark.parametrize("apart", [False, True])
def test_what_needs_the_nearest_only_is_the_same_to_the_last_bit(blobs, kind, apart):
    x, y = samples(blobs, kind)
    if kind == "float64":
        x = x.astype(np.float64) + 1e-9
    given = (x, y, x[::2], y[::2]) if apart else (x, y)
    whole = query_scores(*given, ks=KS, knn_ks=KNN_KS)
    found = query_scores(*given, ks=KS, knn_ks=KNN_KS, scores=NEAREST)
    assert list(found.scores) == [*NEAREST, "knn_accuracy_at_1", "knn_accuracy_at_9"]
    for name, values in found.scores.items():
        np.testing.assert_array_equal(values, whole.scores[name], err_msg=name)
    assert found.votes is not None
    assert whole.votes is not None
    for ours, theirs in zip(found.votes, whole.votes, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_whole_ranking_is_left_alone_where_it_is_not_wanted(blobs, monkeypatch):
    def refuse(*_):
        raise AssertionError("ranked")

    truth = retrieval_scores(*blobs)
    monkeypatch.setattr("dml.evaluation.retrieval.rank_block", refuse)
    found = retrieval_scores(*blobs, scores=["recall_at_1", "knn_accuracy"])
    assert found == {name: truth[name] for name in found}
    assert {"recall_at_1", "knn_accuracy", "knn_macro_f1", "num_lone_queries"} <= set(found)
    with pytest.raises(AssertionError, match="ranked"):
        retrieval_scores(*blobs, scores=["recall_at_1", "mrr"])


def test_queries_in_doubt_are_searched_for_more_and_nothing_is_ranked(monkeypatch):
    def counted(query, reference, k, device):
        searched.append((len(query), k))
        return search_nearest(query, reference, k, device)

    def refuse(*_):
        raise AssertionError("ranked")

    rng, searched = np.random.default_rng(0), []
    near = np.repeat(rng.normal(size=(30, 8)), 40, axis=0) + 1e-6 * rng.normal(size=(1200, 8))  # as one to a float32
    x, y = np.concatenate([near, 9 * rng.normal(size=(600, 8))]), np.arange(1800) % 600
    truth = query_scores(x, y, ks=KS, knn_ks=KNN_KS)
    monkeypatch.setattr("dml.evaluation.retrieval._small_ranking", lambda *_: None)
    monkeypatch.setattr("dml.evaluation.retrieval.rank_block", refuse)
    monkeypatch.setattr("dml.neighbors.ranking.nearest_search.search_nearest", counted)
    found = query_scores(x, y, ks=KS, knn_ks=KNN_KS, scores=NEAREST)
    for name, values in found.scores.items():
        np.testing.assert_array_equal(values, truth.scores[name], err_msg=name)
    first = [count for count, k in searched if k < 20]
    again = [count for count, k in searched if k >= 20]
    assert sum(first) == 1800
    assert 1200 <= sum(again) < 1800


@pytest.mark.parametrize("name", score_names(KS, KNN_KS))
def test_each_score_alone_is_the_score_among_all(blobs, name):
    truth = retrieval_scores(*blobs, ks=KS, knn_ks=KNN_KS)
    found = retrieval_scores(*blobs, ks=KS, knn_ks=KNN_KS, scores=[name])
    assert name in found
    assert found == {each: truth[each] for each in found}


def test_classes_larger_than_a_search_are_ranked(blobs, monkeypatch):
    truth = retrieval_scores(*blobs)
    monkeypatch.setattr("dml.evaluation.retrieval.MOST", 20)
    assert retrieval_scores(*blobs, scores=["map_at_r"])["map_at_r"] == truth["map_at_r"]


def test_little_memory_changes_nothing(blobs):
    truth = retrieval_scores(*blobs)
    found = retrieval_scores(*blobs, scores=["recall_at_1", "map_at_r"], max_memory=300_000)
    assert found == {name: truth[name] for name in found}


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (["map_at_t"], "scores: there is no 'map_at_t': did you mean map_at_r?"),
        (["recall_at_3"], "there is no 'recall_at_3': did you mean recall_at_5?"),
        ([], "scores is empty"),
    ],
)
def test_a_score_that_is_not_there_is_told(blobs, scores, words):
    with pytest.raises(UserError, match=words.replace("?", r"\?")):
        retrieval_scores(*blobs, scores=scores)


def test_queries_of_which_some_are_references(blobs):
    x, y = blobs
    x, ids = np.rint(x), np.arange(len(x))
    given = {"query_ids": ids, "reference_ids": ids[:40], "ks": (1, 30), "knn_ks": (30,)}
    whole = query_scores(x, y, x[:40], y[:40], **given)
    found = query_scores(x, y, x[:40], y[:40], **given, scores=["recall_at_30", "map_at_r", "knn_accuracy"])
    for name, values in found.scores.items():
        np.testing.assert_array_equal(values, whole.scores[name], err_msg=name)


def test_a_search_without_faiss_is_the_same(blobs, monkeypatch):
    truth = retrieval_scores(*blobs)
    monkeypatch.setattr("dml.neighbors.index.importlib.util.find_spec", lambda name: None)
    found = retrieval_scores(*blobs, scores=["recall_at_5", "map_at_r", "knn_accuracy"])
    assert found == {name: truth[name] for name in found}
