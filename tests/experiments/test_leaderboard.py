"""The leaderboard of a folder: the order, the columns, runs without scores, and as a user sees it."""

import json

import pytest

from dml import runs
from dml.cli import main
from dml.errors import UserError
from dml.experiments.leaderboard import leaderboard


@pytest.fixture
def folder(tmp_path):
    def add(name, scores, encoder="dml.encoders.ConvEncoder"):
        run = tmp_path / name
        run.mkdir(parents=True)
        recipe = {
            "model": {"class_path": "dml.modules.EmbeddingModule", "init_args": {"encoder": encoder}},
            "data": {"root": "photos"},
        }
        runs.write_bytes(run / "config.yaml", runs.recipe_text(recipe).encode())
        data = {"source": "photos/train", "split_hash": "abcdef"}
        runs.write_json(
            run / "protocol.json",
            {"data": data, "cost": {"processor_seconds": 61.4}, "created": "2026-11-21T10:11:12+00:00"},
        )
        if scores:
            runs.write_json(run / "scores.json", scores)
        return run

    add("middling", {"val": {"map_at_r": 0.5, "recall_at_1": 0.9}})
    add("best", {"val": {"map_at_r": 0.7, "recall_at_1": 0.8}, "test": {"map_at_r": 0.1}}, {"class_path": "my.Own"})
    add("autoencoder", {"val": {"mse": 0.01, "loss": 0.2}})
    add("worse_autoencoder", {"val": {"mse": 0.02}})
    add("sweep/trial", {"val": {"map_at_r": 0.1}})
    add("interrupted", None)
    return tmp_path


def test_the_best_stands_first_and_what_has_no_score_last(folder):
    names = [row.name for row in leaderboard(folder)]
    assert names == ["best", "middling", "sweep/trial", "autoencoder", "worse_autoencoder", "interrupted"]
    assert [row.name for row in leaderboard(folder, score="recall_at_1")][:2] == ["middling", "best"]
    assert leaderboard(folder, "test", "map_at_r")[0].name == "best"
    first = leaderboard(folder)[0]
    assert (first.data, first.encoder, first.seconds, first.problem) == ("train (abcd)", "Own", 61.4, "")


def test_an_error_rate_is_better_when_low(folder):
    for name, missed in (("best", 0.9), ("middling", 0.01)):
        runs.write_json(folder / name / "scores.json", {"val": {"fnmr_at_fmr_0.001": missed, "map_at_r": 0.5}})
    assert [row.name for row in leaderboard(folder, score="fnmr_at_fmr_0.001")][:2] == ["middling", "best"]


def test_a_broken_run_is_told_and_the_others_are_listed(folder):
    (folder / "middling" / "scores.json").write_text("{")
    rows = leaderboard(folder)
    assert len(rows) == 6
    assert "middling" in next(row.problem for row in rows if row.name == "middling")
    (folder / "best" / "protocol.json").write_text('{"cost": {"processor_seconds": null}}')
    assert next(row.seconds for row in leaderboard(folder) if row.name == "best") is None


def test_what_is_not_there_is_told_in_a_line(folder):
    with pytest.raises(UserError, match=r"no run in .* has the val score 'knn': there are loss, map_at_r, mse, rec"):
        leaderboard(folder, score="knn")


def test_as_a_user_sees_it(folder, capsys):
    assert main(["runs", "--runs_dir", str(folder)]) == 0
    out = capsys.readouterr().out.splitlines()
    head = "run map_at_r recall_at_1 mse loss data (split) encoder loss or head seconds begun"
    assert out[0].split() == head.split()
    assert out[1].split() == ["best", "0.7000", "0.8000", "train", "(abcd)", "Own", "61", "2026-11-21", "10:11"]
    assert out[-1] == "interrupted: not scored: interrupted, or still training"
    assert main(["runs", "--runs_dir", str(folder), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["scores"] == {"map_at_r": 0.7, "recall_at_1": 0.8}
    assert main(["runs", "--runs_dir", str(folder / "best")]) == 2
    assert "holds no run" in capsys.readouterr().err
