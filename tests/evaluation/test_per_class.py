"""Per-class scores, confusions, worst queries and clusters."""

import numpy as np
import pytest

from dml.errors import UserError
from dml.evaluation import class_scores, clustering_scores, confusion_matrix, mean_scores, query_scores, worst_queries


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


def test_clusters_far_apart_are_found():
    y = np.arange(60) % 3
    x = np.eye(3)[y] + 0.01 * np.random.default_rng(0).standard_normal((60, 3))
    assert clustering_scores(x, y, seeds=(0, 1)) == {"nmi": pytest.approx(1.0), "ami": pytest.approx(1.0)}
