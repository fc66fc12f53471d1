"""Scores against slow, independent truths: every order of a tie tried, peers' numbers, chance."""

import itertools
import math

import numpy as np
import pytest

from dml.errors import UserError
from dml.evaluation import query_scores, retrieval_scores
from dml.neighbors.ranking import tiles

pytestmark = pytest.mark.usefixtures("each_way")


def scores_of_order(classes, own, ks, knn_k):
    """Scores of one ranking without ties in positions, straight from the definitions."""
    relevant = [c == own for c in classes]
    total = sum(relevant)
    precision = [sum(relevant[: i + 1]) / (i + 1) for i in range(len(classes))]
    result = {f"recall_at_{k}": float(any(relevant[:k])) for k in ks}
    result |= {f"precision_at_{k}": sum(relevant[:k]) / k for k in ks}
    result["r_precision"] = sum(relevant[:total]) / total
    result["map_at_r"] = sum(p for p, r in zip(precision[:total], relevant[:total], strict=True) if r) / total
    result["map"] = sum(p for p, r in zip(precision, relevant, strict=True) if r) / total
    result["mrr"] = 1 / (relevant.index(True) + 1)
    gain = sum(1 / math.log2(i + 2) for i, r in enumerate(relevant) if r)
    result["ndcg"] = gain / sum(1 / math.log2(i + 2) for i in range(total))
    votes = [classes[:knn_k].count(c) for c in sorted(set(classes))]
    mine = classes[:knn_k].count(own)
    result["knn_accuracy"] = (mine == max(votes)) / votes.count(mine) if mine else 0.0
    return result


def expected_scores(distances, classes, own, ks, knn_k):
    """The mean over every order of the references that respects the distances."""
    orders = [
        order
        for order in itertools.permutations(range(len(classes)))
        if all(distances[a] <= distances[b] for a, b in itertools.pairwise(order))
    ]
    every = [scores_of_order([classes[i] for i in order], own, ks, knn_k) for order in orders]
    return {name: sum(one[name] for one in every) / len(every) for name in every[0]}


@pytest.mark.parametrize("seed", range(6))
def test_ties_are_scored_by_their_expectation(seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, (8, 2)).astype(np.float32)
    y = rng.integers(0, 3, 8)
    table = query_scores(x, y, ks=(1, 2, 3), knn_ks=(3,))
    assert len(table.ids)
    for at, i in enumerate(table.ids):
        others = [j for j in range(8) if j != i]
        distances = [float(((x[i] - x[j]) ** 2).sum()) for j in others]
        truth = expected_scores(distances, [int(y[j]) for j in others], int(y[i]), (1, 2, 3), 3)
        for name, value in truth.items():
            assert table.scores[name][at] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("value", [0.0, 0.37])
def test_equal_embeddings_score_exactly_chance(value):
    y = np.repeat(np.arange(10), 20)
    scores = retrieval_scores(np.full((200, 7), value), y, ks=(1, 5), knn_ks=(1,))
    chance = 19 / 199
    for name in ("precision_at_1", "precision_at_5", "r_precision", "knn_accuracy", "recall_at_1"):
        assert scores[name] == pytest.approx(chance, abs=1e-12), name
    missed = math.prod((180 - i) / (199 - i) for i in range(5))
    assert scores["recall_at_5"] == pytest.approx(1 - missed, abs=1e-12)


def test_row_order_and_memory_never_change_a_bit(blobs):
    x, y = blobs
    x = np.concatenate([x, x[:40]])  # duplicates too
    y = np.concatenate([y, y[:40]])
    order = np.random.default_rng(1).permutation(len(x))
    whole = retrieval_scores(x, y, knn_ks=(1, 5))
    assert retrieval_scores(x[order], y[order], knn_ks=(1, 5)) == whole
    assert retrieval_scores(x, y, knn_ks=(1, 5), max_memory=300_000) == whole


def test_agrees_with_pytorch_metric_learning(blobs):
    import torch
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    x, y = blobs
    knn = CustomKNN(LpDistance(normalize_embeddings=False))
    names = ("mean_average_precision_at_r", "r_precision", "precision_at_1")
    peer = AccuracyCalculator(include=names, k="max_bin_count", knn_func=knn, device=torch.device("cpu"))
    theirs = peer.get_accuracy(torch.from_numpy(x), torch.from_numpy(y))
    ours = retrieval_scores(x, y)
    assert ours["map_at_r"] == pytest.approx(theirs["mean_average_precision_at_r"], abs=1e-6)
    assert ours["r_precision"] == pytest.approx(theirs["r_precision"], abs=1e-6)
    assert ours["precision_at_1"] == pytest.approx(theirs["precision_at_1"], abs=1e-6)


def test_self_is_excluded_by_identity(blobs):
    x, y = blobs
    alone = retrieval_scores(x, y)
    ids = np.random.default_rng(0).permutation(len(x)) + 2**40
    order = np.random.default_rng(1).permutation(len(x))
    assert retrieval_scores(x, y, x[order], y[order], query_ids=ids, reference_ids=ids[order]) == alone
    assert retrieval_scores(x, y, x, y)["recall_at_1"] == 1.0  # without ids they are strangers that look alike


def test_padding_is_dropped_by_id(blobs):
    x, y = blobs
    ids = np.arange(len(x))
    padded = np.concatenate([ids, ids[:3]])
    assert retrieval_scores(x[padded], y[padded], query_ids=padded) == retrieval_scores(x, y)


def test_large_labels_are_kept_apart(blobs):
    x, y = blobs
    assert retrieval_scores(x, y + 2**24 * 3 + 2**55) == retrieval_scores(x, y)


def test_lone_queries_are_counted_and_left_out(blobs):
    x, y = blobs
    far = np.full((2, x.shape[1]), 1e3, dtype=np.float32) * np.array([[1], [-1]], dtype=np.float32)
    scores = retrieval_scores(np.concatenate([x, far]), np.concatenate([y, [98, 99]]))
    assert scores["num_lone_queries"] == 2
    assert scores["recall_at_1"] == retrieval_scores(x, y)["recall_at_1"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ks": (0,)}, "k=0 in ks is not positive"),
        ({"ks": (1.5,)}, "k in ks=1.5: give a whole number"),
        ({"knn_ks": [True]}, "k in knn_ks=True: give a whole number"),
        ({"ks": []}, "ks is empty"),
        ({"ks": (500,)}, "larger than the 299 references"),
        ({"knn_ks": (300,)}, "larger than the 299 references"),
        ({"max_memory": 10_000}, "too small for one tile"),
        ({"max_memory": "much"}, "not an amount of memory"),
        ({"query_labels": np.arange(300)}, "nothing to score"),
        ({"query_labels": np.zeros(299)}, "one for each row"),
        ({"query_labels": np.full(300, 0.5)}, "not whole numbers"),
        ({"reference": np.zeros((0, 16)), "reference_labels": []}, "reference set is empty"),
        ({"reference": np.zeros((5, 3)), "reference_labels": [0] * 5}, "16 numbers"),
        ({"reference": np.zeros((5, 16))}, "give reference_labels"),
    ],
)
def test_bad_input_is_one_clear_line(blobs, change, words):
    x, y = blobs
    with pytest.raises(UserError, match=words) as caught:
        retrieval_scores(**{"query": x, "query_labels": y, **change})
    assert "\n" not in str(caught.value)


def test_numbers_of_neighbours_may_be_of_any_type(blobs):
    truth = retrieval_scores(*blobs, ks=(1, 5), knn_ks=(3,))
    assert retrieval_scores(*blobs, ks=np.array([1, 5]), knn_ks=np.array([3], dtype=np.uint8)) == truth
    assert retrieval_scores(*blobs, ks=(1.0, 5.0), knn_ks=[3.0]) == truth


def test_nan_is_counted_and_located(blobs):
    x, y = blobs
    x = x.copy()
    x[7, 3] = np.nan
    x[9] = np.inf
    with pytest.raises(UserError, match=r"2 of 300 query embeddings hold NaN or infinity, the first in row 7"):
        retrieval_scores(x, y)


@pytest.mark.parametrize("memory", ["2GiB", 300_000])
@pytest.mark.parametrize("kind", ["blobs", "few", "collapsed", "whole numbers", "far from zero"])
def test_both_ways_of_counting_agree_to_the_last_bit(monkeypatch, blobs, kind, memory):
    x, y = blobs
    if kind == "few":  # fewer positives than neighbours that vote
        y = np.arange(len(x)) // 3
    if kind == "collapsed":
        x = 1 + 1e-6 * x
    if kind == "whole numbers":
        x = np.rint(x)
    if kind == "far from zero":
        x = x + 1e3
    x = np.concatenate([x, x[:60]]).astype(np.float32)  # duplicates too
    y = np.concatenate([y, y[30:90]])
    found = []
    monkeypatch.setattr(tiles, "SMALL", 0)
    for products in (False, True):
        monkeypatch.setattr(tiles, "takes_products", lambda *_, products=products: products)
        found.append(query_scores(x, y, ks=(1, 7), knn_ks=(1, 9), max_memory=memory))
    for name, values in found[0].scores.items():
        np.testing.assert_array_equal(found[1].scores[name], values, err_msg=name)


def test_embeddings_too_large_for_their_distances_are_told():
    x = np.array([[1e20], [-1e20], [0.0], [1.0]], dtype=np.float32)
    with pytest.raises(UserError, match="too large"):
        retrieval_scores(x, [0, 0, 1, 1], ks=(1,), knn_ks=(1,))
