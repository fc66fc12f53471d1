"""Recall@1 without torch: against loops in float64, and against the scores of an evaluation."""

import numpy as np
import pytest

from dml.embeddings import EmbeddingSet
from dml.evaluation import score_queries
from dml.export.golden import COSINE, Queries, agreements, cosines
from dml.export.recall import nearest_hits, recall_at_1, undecided
from dml.export.verify import compare_hits


def _loop(queries, labels, own, references, reference_labels, metric):
    """Return what `nearest_hits` means, one query at a time."""
    hits = []
    for query, label, self in zip(queries.astype(float), labels, own, strict=True):
        others = np.flatnonzero(np.arange(len(references)) != self)
        if not (reference_labels[others] == label).any():
            hits.append(np.nan)
            continue
        rows = references[others].astype(float)
        if metric == "cosine":
            rows, query = rows / np.linalg.norm(rows, axis=1, keepdims=True), query / np.linalg.norm(query)
        distances = np.linalg.norm(rows - query, axis=1)
        near = distances <= distances.min() + 1e-12
        hits.append(np.mean(reference_labels[others][near] == label))
    return np.array(hits)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("together", [False, True])
def test_it_is_what_a_loop_finds(metric, together):
    draw = np.random.default_rng(3)
    references = draw.normal(size=(60, 4)).astype(np.float32)
    reference_labels = draw.integers(0, 5, 60)
    reference_labels[7] = 9  # lone where it is searched among the others
    if together:
        queries, labels, own = references, reference_labels, np.arange(60)
    else:
        queries, labels, own = draw.normal(size=(30, 4)).astype(np.float32), draw.integers(0, 6, 30), np.full(30, -1)
    found = nearest_hits(queries, labels, own, references, reference_labels, metric)
    np.testing.assert_array_equal(found, _loop(queries, labels, own, references, reference_labels, metric))
    assert np.isnan(found).any()
    asked = EmbeddingSet(queries, labels, np.arange(len(queries)))
    searched = asked if together else EmbeddingSet(references, reference_labels, -1 - np.arange(60))
    scores = score_queries(asked, searched, ks=(1,), knn_ks=(1,), metric=metric).scores["recall_at_1"]
    assert recall_at_1(found) == pytest.approx(scores.mean(), abs=1e-12)


def test_equally_near_references_count_by_their_share_however_many_there_are():
    references = np.zeros((20, 2), np.float32)
    labels = np.array([0] * 5 + [1] * 15)
    assert nearest_hits(references[:1], np.array([0]), np.array([-1]), references, labels, "l2").tolist() == [0.25]
    own = nearest_hits(references[:1], np.array([0]), np.array([0]), references, labels, "l2")
    assert own.tolist() == [4 / 19]


def test_what_rounding_decides_may_differ_and_what_it_does_not_may_not():
    references = np.array([[0.0], [2.0]], np.float32)
    labels = np.array([0, 1])
    rows = np.array([[1.0 + 1e-6], [0.5]], np.float32)
    torch = Queries(np.array(["a", "b"]), np.array([0, 0]), np.array([-1, -1]), np.array([1.0, 1.0]))
    hits = nearest_hits(rows, torch.labels, torch.own, references, labels, "l2")
    assert hits.tolist() == [0.0, 1.0]
    near = compare_hits("recall@1", rows, hits, torch, references, labels, "l2", error=1e-6)
    assert near.holds
    assert "1 queries differ" in near.told
    far = compare_hits("recall@1", rows, hits, torch, references, labels, "l2", error=1e-8)
    assert not far.holds
    assert "first 'a'" in far.told
    assert undecided(rows[0], 0, 0, references, labels, "cosine", 1.0) is False  # nothing else of its class


def test_cosines_are_those_of_the_definition():
    left, right = np.random.default_rng(0).normal(size=(2, 5, 3))
    wanted = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(left, right, strict=True)]
    np.testing.assert_allclose(cosines(left, right), wanted, atol=1e-14)


def test_under_l2_rows_agree_in_length_too():
    rows = np.random.default_rng(0).normal(size=(50, 6))
    np.testing.assert_allclose(agreements(rows, rows, "l2"), 1)
    assert agreements(2 * rows, rows, "cosine") == pytest.approx(1)
    assert agreements(2 * rows, rows, "l2") == pytest.approx(0.5)
    assert agreements(1.003 * rows, rows, "l2").min() > COSINE > agreements(1.02 * rows, rows, "l2").max()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(agreements(unit[:25], unit[25:], "l2"), cosines(unit[:25], unit[25:]))
    nothing = np.zeros((1, 6))
    assert agreements(nothing, nothing, "l2").tolist() == [1.0]
    assert agreements(rows[:1], nothing, "l2")[0] < 0
