"""Per-class scores, confusions, worst queries and clusters."""

import numpy as np
import pytest

from dml.errors import UserError
from dml.evaluation import class_scores, clustering_scores, confusion_matrix, mean_scores, query_scores, worst_queries
from dml.neighbors import cluster


def test_class_scores_average_to_the_mean(blobs):
    table = query_scores(*blobs)
    means = class_scores(table)
    assert list(means.values()) == sorted(means.values())
    weighted = sum(means[c] * (table.labels == c).sum() for c in means) / len(table.labels)
    assert weighted == pytest.approx(mean_scores(table)["map_at_r"], abs=1e-12)


def test_worst_queries_are_the_lowest(blobs):
    table = query_scores(*blobs)
    worst = worst_queries(table, 5)
    by_id = dict(zip(table.ids.tolist(), table.scores["map"].tolist(), strict=True))
    assert [by_id[i] for i in worst.tolist()] == sorted(by_id.values())[:5]
    with pytest.raises(UserError, match="no score 'speed'"):
        worst_queries(table, 5, "speed")


def test_confusions_count_level_votes_in_shares():
    matrix = confusion_matrix([[3, 3, 5], [5, 3, 4]], [3, 5])
    assert matrix.classes.tolist() == [3, 4, 5]
    np.testing.assert_allclose(matrix.shares, [[1, 0, 0], [0, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
    with pytest.raises(UserError, match="one row of neighbours"):
        confusion_matrix([[1, 2]], [1, 2])


def test_confusions_are_counted_some_queries_at_a_time(monkeypatch):
    rng = np.random.default_rng(0)
    near, own = rng.integers(0, 9, (50, 4)), rng.integers(0, 9, 50)
    whole = confusion_matrix(near, own)
    monkeypatch.setattr("dml.evaluation.per_class._CHUNK", 20)
    np.testing.assert_allclose(confusion_matrix(near, own).shares, whole.shares)
    assert whole.shares.sum() == pytest.approx(50)


def test_clusters_far_apart_are_found():
    y = np.arange(60) % 3
    x = np.eye(3)[y] + 0.01 * np.random.default_rng(0).standard_normal((60, 3))
    assert clustering_scores(x, y, seeds=(0, 1)) == {"nmi": pytest.approx(1.0), "ami": pytest.approx(1.0)}


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_classes_that_do_not_touch_are_found_wherever_they_lie(offset):
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(60), 15)
    x = 3 * rng.standard_normal((60, 32))[y] + 0.3 * rng.standard_normal((900, 32))
    for seed in range(3):
        scores = clustering_scores((x + offset).astype(np.float32), y, seeds=(seed,))
        assert scores == {"nmi": pytest.approx(1.0), "ami": pytest.approx(1.0)}


def test_of_several_starts_the_tightest_is_kept(blobs):
    x, _ = blobs
    inertia = [
        sum(((x[codes == c] - x[codes == c].mean(axis=0)) ** 2).sum() for c in range(12))
        for codes in (cluster(x, 12, starts=starts) for starts in (1, 8))
    ]
    assert inertia[1] <= inertia[0]
    np.testing.assert_array_equal(cluster(x, 12, starts=8), cluster(2.0**40 * x, 12, starts=8))
    with pytest.raises(UserError, match="301 clusters of 300 rows"):
        cluster(x, 301)


def test_equal_embeddings_have_no_clusters():
    y = np.arange(50) % 5
    assert clustering_scores(np.ones((50, 3)), y) == {"nmi": pytest.approx(0), "ami": pytest.approx(0)}
