"""An evaluation embeds each image once and ranks the queries once; one writer leaves scores, intervals and records."""

import json
from pathlib import Path

import numpy as np
import pytest

from dml.callbacks import evaluation as callback
from dml.embeddings import EmbeddingSet
from dml.encoders import ConvEncoder
from dml.evaluation import QueryScores, retrieval_scores


@pytest.fixture
def passes(monkeypatch):
    """Count images embedded in evaluation mode, queries ranked, and files of scores written."""
    seen = {"embedded": 0, "ranked": [], "written": [], "searched": 0}
    forward, score, write = ConvEncoder.forward, callback.score_queries, QueryScores.save

    def counted(self, images):
        seen["embedded"] += len(images) * (not self.training) * bool(images.any())
        return forward(self, images)

    def ranked(query, reference, *settings, **keys):
        seen["ranked"].append(len(query))
        return score(query, reference, *settings, **keys)

    def written(self, path):
        seen["written"].append(Path(path).name)
        write(self, path)

    def searched(*sets):
        seen["searched"] += 1
        return search(*sets)

    search = callback.find_neighborhoods
    monkeypatch.setattr(callback, "find_neighborhoods", searched)
    monkeypatch.setattr(ConvEncoder, "forward", counted)
    monkeypatch.setattr(callback, "score_queries", ranked)
    monkeypatch.setattr(QueryScores, "save", written)
    return seen


def test_fit_leaves_intervals_and_the_scores_of_single_queries(dml, small, passes):
    code, _, err = dml("fit", "--name", "first", "--evaluation.baselines=false", *small)
    assert code == 0, err
    # two epochs and the end: 359 queries and 1,079 references each time, and every one of the references watched;
    # the best weights are those of the second epoch: what they embed is not ranked again
    assert passes["embedded"] == 3 * (359 + 1079)
    assert passes["ranked"] == 2 * [359, 1079]
    assert passes["written"] == ["queries_val.npz"]
    assert passes["searched"] == 1  # the gallery and the record of neighbours share one search
    scores = json.loads(Path("runs/first/scores.json").read_text())
    low, high = scores["intervals"]["val"]["map_at_r"]
    assert low < scores["val"]["map_at_r"] < high
    record = QueryScores.load(Path("runs/first/queries_val.npz"))
    assert np.mean(record.scores["map_at_r"]) == pytest.approx(scores["val"]["map_at_r"])


def test_evaluate_embeds_and_ranks_once_and_agrees_with_fit(dml, small, passes):
    assert dml("fit", "--name", "first", *small)[0] == 0
    before = Path("runs/first/scores.json").read_bytes()
    passes.update(embedded=0, ranked=[], searched=0)
    code, out, err = dml("evaluate", "--run", "first")
    assert code == 0, err
    assert "map_at_r" in out
    assert "359 queries, 1079 references; as recorded" in out
    assert (passes["embedded"], passes["ranked"]) == (0, [])  # nothing was missing
    Path("runs/first/neighbors_val.npz").unlink()
    code, again, err = dml("evaluate", "--run", "first")
    assert code == 0, err
    assert passes["embedded"] == 359 + 1079
    assert passes["ranked"] == [359, 1079]
    assert passes["searched"] == 1  # for the record of neighbours
    assert Path("runs/first/scores.json").read_bytes() == before
    assert [line for line in again.splitlines() if "map_at_r" in line] == [
        line for line in out.splitlines() if "map_at_r" in line
    ]


def test_the_metric_of_the_recipe_is_that_of_every_verb(dml, small):
    assert dml("fit", "--name", "first", "--evaluation.metric=cosine", *small)[0] == 0
    scores = json.loads(Path("runs/first/scores.json").read_text())["val"]
    assert json.loads(Path("runs/first/protocol.json").read_text())["metric"] == "cosine"
    assert dml("predict", "--run", "first", "--output", "rows.npz")[0] == 0
    rows = EmbeddingSet.load(Path("rows.npz"))
    held = QueryScores.load(Path("runs/first/queries_val.npz")).ids
    queries = rows.take(np.isin(rows.ids, held))
    same = retrieval_scores(queries.embeddings, queries.labels, metric="cosine")
    assert same["map_at_r"] != retrieval_scores(queries.embeddings, queries.labels)["map_at_r"]
    code, out, _ = dml("evaluate", "--run", "first")
    assert code == 0
    assert f"{scores['map_at_r']:.4f}" in out
    code, out, _ = dml("evaluate", "--run", "first", "--metric", "l2")
    assert code == 0
    assert "not written without --output" in out
    code, _, err = dml("evaluate", "--embeddings", "rows.npz", "--metric", "cosine", "--output", "own/scores.json")
    assert code == 0, err


def test_the_memory_of_the_ranking_is_a_key(dml, small):
    code, _, err = dml("fit", "--name", "first", "--evaluation.max_memory=1kB", *small)
    assert code == 2
    assert "max_memory '1kB' is too small" in err
    assert not Path("runs/first").exists()
