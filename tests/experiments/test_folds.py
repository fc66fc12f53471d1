"""Cross-validation over folds of the classes: their means, the concatenated embedding, and the front door."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp

from dml import runs
from dml.cli import main
from dml.embeddings import EmbeddingSet
from dml.errors import UserError
from dml.evaluation import concatenate, retrieval_scores
from dml.experiments.folds import Folds, fold_means, split_words


def test_the_interval_is_students():
    values = [0.4, 0.55, 0.5, 0.7]
    mean, low, high = fold_means([{"a": value, "b": 1.0} for value in values] + [])["a"]
    truth = ttest_1samp(values, 0).confidence_interval()
    assert (mean, low, high) == pytest.approx((np.mean(values), truth.low, truth.high))
    assert list(fold_means([{"a": 1.0, "b": 2.0}, {"a": 1.0}])) == ["a"]


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_each_encoder_has_an_equal_say(metric):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(8), 6)
    small, large = (rng.standard_normal((8, 4))[y] + rng.standard_normal((48, 4)) for _ in range(2))
    sets = [EmbeddingSet(rows, y) for rows in (small, 1e6 * large)]
    joined, same = concatenate([(rows, rows) for rows in sets], metric)
    assert joined is same
    rows = torch.from_numpy(joined.embeddings)
    if metric == "cosine":
        parts = [torch.nn.functional.normalize(torch.from_numpy(each)) for each in (small, large)]
        torch.testing.assert_close(rows @ rows.T, (parts[0] @ parts[0].T + parts[1] @ parts[1].T) / 2)
    else:
        spreads = [each - each.mean(axis=0) for each in (small, large)]
        parts = [torch.from_numpy(each / np.sqrt(np.square(each).sum() / 48)) for each in spreads]
        truth = (torch.cdist(parts[0], parts[0]) ** 2 + torch.cdist(parts[1], parts[1]) ** 2) / 2
        torch.testing.assert_close(torch.cdist(rows, rows) ** 2, truth)
    scores = [retrieval_scores(each, y, metric=metric)["map_at_r"] for each in (small, large, joined.embeddings)]
    assert scores[2] > max(scores[:2])
    other = EmbeddingSet(small, y, ids=np.arange(48) + 1)
    with pytest.raises(UserError, match="embedded different samples"):
        concatenate([(sets[0], sets[0]), (other, other)])


def test_a_folder_holds_the_same_folds_or_is_refused(tmp_path):
    folds = Folds(tmp_path / "cv", 3, ["--seed_everything", "1"])
    folds.write()
    assert Folds(tmp_path / "cv").left() == [0, 1, 2]
    for count, words in ((4, ["--seed_everything", "1"]), (3, [])):
        with pytest.raises(UserError, match="other folds or another recipe"):
            Folds(tmp_path / "cv", count, words)
    with pytest.raises(UserError, match="holds no folds"):
        Folds(tmp_path, 3, [])
    with pytest.raises(UserError, match=r"leave --data\.split\.fold out"):
        split_words(["--data.split.fold=1"], 3, 0)


def test_folds_through_the_front_door(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fast = [
        "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu",
        "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
    ]
    fast += ["--evaluation.baselines=false", "--model.encoder.channels=[4]", "--data.split.test=4"]
    command = ["fit", "--folds", "2", "--name", "cv", *fast]
    assert main(command) == 0
    out = capsys.readouterr().out
    content = json.loads((tmp_path / "runs" / "cv" / "folds.json").read_text())
    mean = content["val_means"]["map_at_r"]
    assert f"{mean['mean']:.4f}  [{mean['low']:.4f}, {mean['high']:.4f}]" in out
    folders = [tmp_path / "runs" / "cv" / f"fold_{fold}" for fold in range(2)]
    classes = [np.unique(runs.read_arrays(runs.queries_path(run, "val"))["labels"]) for run in folders]
    assert [len(each) for each in classes] == [3, 3]
    assert not set(classes[0]) & set(classes[1])
    ended = [(run / "scores.json").stat().st_mtime_ns for run in folders]
    capsys.readouterr()
    assert main([*command, "--json"]) == 0  # nothing is left to do
    told = json.loads(capsys.readouterr().out)["scores"]["map_at_r"]
    assert [told["mean"], *told["interval"]] == pytest.approx([mean["mean"], mean["low"], mean["high"]])
    assert [(run / "scores.json").stat().st_mtime_ns for run in folders] == ended
    capsys.readouterr()

    assert main(["test", "--run", "cv"]) == 0
    out = capsys.readouterr().out
    found = runs.read_scores(tmp_path / "runs" / "cv" / "scores.json")["test"]
    row = next(line for line in out.splitlines() if line.startswith("map_at_r"))
    assert row.endswith(f"{found['map_at_r']:.4f}")
    tested = [runs.read_scores(run / "scores.json")["test"]["map_at_r"] for run in folders]
    assert f"{np.mean(tested):.4f}" in row
    assert found["map_at_r"] > min(tested)
    assert [len(runs.read_readings(run)) for run in folders] == [1, 1]
    assert main(["test", "--run", "cv", "--data.image_size", "9"]) == 2
    assert "is tested as it was trained" in capsys.readouterr().err
