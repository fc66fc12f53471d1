"""The ranking of small sets against that of large ones, tile by tile: equal to the last bit."""

import numpy as np
import pytest

from dml.embeddings import EmbeddingSet
from dml.evaluation import query_scores
from dml.neighbors.ranking import Block, RankingTask, rank, tiles
from dml.neighbors.ranking.packed import Packed, pack
from dml.neighbors.ranking.small import _doubtful

NEAREST = ["recall_at_1", "precision_at_7", "r_precision", "map_at_r", "knn_accuracy"]
FEW = ["recall_at_7", "knn_accuracy"]  # fewer than there are positives


def samples(kind):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 300 if kind == "small classes" else 6, 700)
    x = rng.standard_normal((300, 24))[y] + rng.standard_normal((700, 24))
    changes = {
        "each twice": lambda: np.repeat(x[:350], 2, axis=0),
        "each 20 times": lambda: np.repeat(x[:35], 20, axis=0),
        "collapsed": lambda: 1 + 1e-6 * x,
        "whole numbers": lambda: np.rint(x),
        "two numbers": lambda: x[:, :2],
        "far from zero": lambda: x + 1e3,
        "tiny": lambda: 1e-21 * x,
        "one far away": lambda: np.where(np.arange(700)[:, None] == 5, 1e4, x),
        "many numbers": lambda: np.tile(x, 100),
        "clusters": lambda: 1e2 * (np.arange(700) % 7)[:, None] + 1e-2 * x,
    }
    return changes.get(kind, lambda: x)().astype(np.float64 if kind == "float64" else np.float32), y


KINDS = ["plain", "small classes", "each twice", "each 20 times", "collapsed", "whole numbers", "two numbers"]
KINDS += ["far from zero", "tiny", "one far away", "many numbers", "clusters", "float64"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("double", [False, True])
def test_scores_are_those_of_tiles(monkeypatch, kind, double):
    monkeypatch.setattr(tiles, "_FEW", 0 if double else 10**6)
    monkeypatch.setattr(tiles, "takes_products", lambda *_: False)
    x, y = samples(kind)
    apart = (x[:300], y[:300], x[200:], y[200:])
    ids = {"query_ids": np.arange(300), "reference_ids": np.arange(200, 700)}
    for given, named in (((x, y), {}), (apart, {}), (apart, ids)):
        for scores in (None, NEAREST, FEW):
            found = query_scores(*given, **named, ks=(1, 7), knn_ks=(1, 9), scores=scores)
            with monkeypatch.context() as patched:
                patched.setattr(tiles, "SMALL", 0)
                truth = query_scores(*given, **named, ks=(1, 7), knn_ks=(1, 9))
            for name, values in found.scores.items():
                np.testing.assert_array_equal(values, truth.scores[name], err_msg=name)
            for ours, theirs in zip(found.votes, truth.votes, strict=True):
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", ["plain", "each twice", "far from zero"])
@pytest.mark.parametrize("scores", [None, NEAREST, FEW])
def test_small_sets_are_not_ranked_tile_by_tile(monkeypatch, kind, scores):
    def refuse(*_):
        raise AssertionError("ranked")

    monkeypatch.setattr(rank, "positive_distances", refuse)
    assert query_scores(*samples(kind), ks=(1, 7), scores=scores).scores
    monkeypatch.setattr(tiles, "SMALL", 699)
    with pytest.raises(AssertionError, match="ranked"):
        query_scores(*samples(kind))


def test_doubt_ends_with_the_row():
    line = np.array([0, 10, 20, 21, 22, 43, 45, 46, 99], dtype=np.int32)
    packed = Packed(line, width=4, bits=1, apart=3)
    doubtful = _doubtful(packed, np.array([0, 3, 5]))
    assert doubtful is not None
    assert np.flatnonzero(doubtful).tolist() == [2, 3, 5, 6]
    assert _doubtful(packed._replace(line=np.zeros(81, np.int32), width=80), np.array([0])) is None


@pytest.mark.parametrize("products", [False, True])
@pytest.mark.parametrize("kind", ["plain", "two numbers", "far from zero", "many numbers", "clusters"])
def test_numbers_far_enough_apart_are_in_the_order_of_exact_distances(kind, products):
    x, y = samples(kind)
    task = RankingTask(*2 * (EmbeddingSet(x, y),))
    packed, positives = pack(task, Block(0, 700, 0, products), None, 5)
    order = task.layout.reference_order
    rows, own = x.astype(np.float64)[order], y[order]
    assert sorted(own[positives // 700]) == sorted(np.repeat(own, task.layout.positives))
    for i in range(0, 700, 50):
        columns = packed.places(np.arange(700 * i, 700 * i + 699))
        number = packed.table[i, :699].astype(object)  # whole numbers that don't overflow
        kept = columns[: 1 + max(positives[positives // 700 == i], default=0) - 700 * i]
        exact = np.square(rows[kept] - rows[i]).sum(axis=1).astype(np.float32)
        nearest = np.minimum.accumulate(exact[::-1])[::-1]  # of all that follow
        for j, later in enumerate(np.searchsorted(number[: len(kept)], number[: len(kept)] + packed.apart)):
            assert later == len(kept) or exact[j] < nearest[later]
        assert (own[kept] == own[i])[packed.table[i, : len(kept)] & 1 > 0].all()
