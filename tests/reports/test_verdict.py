"""What a run is told of itself: above, level with or below its baselines, by its interval."""

import shlex

import numpy as np
import pytest

from dml.cli import main
from dml.reports.verdict import verdict


def _scores(own, interval, **baselines):
    told = {name: {"val": {"knn_accuracy": value}} for name, value in baselines.items()}
    return {"val": {"knn_accuracy": own}, "baselines": told, "intervals": {"val": {"knn_accuracy": interval}}}


@pytest.mark.parametrize(
    ("interval", "relation", "better"),
    [([0.35, 0.5], "above", True), ([0.25, 0.5], "level with", False), ([0.1, 0.2], "below", False)],
)
def test_the_interval_decides(interval, relation, better):
    found = verdict(_scores(0.3, interval, pixels=0.31, untrained=0.2))
    assert found.better is better
    assert f"is {relation} raw pixels (0.310; the untrained encoder 0.200)." in found.text


def test_the_better_baseline_is_the_rival():
    found = verdict(_scores(0.4, [0.35, 0.5], pixels=0.2, untrained=0.6))
    assert "below the untrained encoder (0.600; raw pixels 0.200)" in found.text


def test_one_score_that_is_level_beside_one_above_is_good_enough():
    scores = _scores(0.98, [0.9, 0.99], pixels=0.97)
    scores["val"]["map_at_r"], scores["baselines"]["pixels"]["val"]["map_at_r"] = 0.9, 0.5
    scores["intervals"]["val"]["map_at_r"] = [0.8, 0.95]
    assert verdict(scores).better


def test_one_score_below_is_enough_for_advice():
    scores = _scores(0.9, [0.8, 0.95], pixels=0.3)
    scores["val"]["map_at_r"], scores["baselines"]["pixels"]["val"]["map_at_r"] = 0.2, 0.3
    scores["intervals"]["val"]["map_at_r"] = [0.15, 0.25]
    found = verdict(scores)
    assert not found.better
    assert "MAP@R 0.200 [0.150, 0.250] is below raw pixels (0.300)." in found.text


def test_nothing_to_compare_with_is_no_verdict():
    assert verdict({"val": {"knn_accuracy": 0.5}}) is None
    assert verdict({"val": {"accuracy": 0.5}, "baselines": {"pixels": {"val": {"knn_accuracy": 0.5}}}}) is None


def test_a_run_that_learns_nothing_is_told_what_to_try_and_the_first_command_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DML_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    np.savez("noise.npz", images=rng.integers(0, 256, (200, 8, 8), np.uint8), labels=np.arange(200) % 4)
    quick = (
        "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu",
        "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
        "--data.batch_size=40",
    )
    assert main(["fit", "--data.root", "noise.npz", "--name", "noise", "--data.batch_size=40", *quick]) == 0
    out = capsys.readouterr().out
    assert "k-NN accuracy" in out
    advice = [line.strip() for line in out.partition("To try next:\n")[2].splitlines() if line.startswith("  dml")]
    assert [line.split()[5] for line in advice] == ["noise-longer", "noise-augmented"]  # 8 pixels are no photograph
    assert main(shlex.split(advice[0])[1:]) == 0
    assert main([*shlex.split(advice[1])[1:], "--trainer.fast_dev_run=1"]) == 0
