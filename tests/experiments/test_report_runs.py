"""The page of several runs and that of a sweep, from files that are written here."""

import pytest
from torch.utils.tensorboard import SummaryWriter

from dml import runs
from dml.cli import main
from dml.errors import UserError
from dml.experiments.report_runs import write_runs_report, write_sweep_report

RECIPE = "seed_everything: 0\nmodel:\n  class_path: a.EmbeddingModule\n  init_args:\n    margin: {margin}\n"
RECIPE += "data:\n  root: photos\n"


def _run(folder, at, margin=0.5):
    runs.write_bytes(folder / "config.yaml", RECIPE.format(margin=margin).encode())
    scores = {"val": {"map_at_r": at, "loss": 1.5}, "intervals": {"val": {"map_at_r": [at - 0.125, at + 0.125]}}}
    runs.write_json(folder / "scores.json", scores)
    with SummaryWriter(str(folder)) as writer:
        for step in (1, 2):
            writer.add_scalar("train/loss", at / step, step)
    return folder


def _sweep(folder, failed=1):
    trials = [(0.5, 0, 0.25), (0.5, 1, 0.5), (1.0, 0, 0.75)]
    rows = ["margin,seed,status,seconds,val/map_at_r,run,reason"]
    for margin, seed, at in trials:
        _run(folder / f"margin={margin}_seed={seed}", at, margin)
        rows.append(f"{margin},{seed},done,1.0,{at},margin={margin}_seed={seed},")
    rows += ["0.5,2,failed,1.0,,lost,it diverged"] * failed
    (folder / "sweep.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def test_several_runs_are_ranked_with_curves_and_what_differs(tmp_path, read_page):
    first, second = _run(tmp_path / "first", 0.5), _run(tmp_path / "second", 0.75, margin=1.25)
    runs.write_bytes(tmp_path / "third" / "config.yaml", RECIPE.format(margin=2).encode())
    page = write_runs_report([first, second, tmp_path / "third"], tmp_path / "page.html").read_text(encoding="utf-8")
    reader = read_page(page)
    text = "".join(reader.text)
    assert "second has the best map_at_r, 0.750. It lies outside the interval of the next, first (0.500)." in text
    assert text.index("0.7500 [0.625, 0.875]") < text.index("0.5000 [0.375, 0.625]")
    assert "train/loss of the 2 runs" in text
    assert "model.margin" in text
    assert "third: not scored" in text
    assert reader.tags.count("img") == 2  # scores and one curve


def test_a_sweep_shows_its_scores_against_its_keys_and_its_failures(tmp_path, read_page):
    page = write_sweep_report(_sweep(tmp_path / "margins"), tmp_path / "margins" / "report.html")
    text = "".join(read_page(page.read_text(encoding="utf-8")).text)
    assert "Sweep margins" in text
    assert "over margin; 3 of 4 trials came to an end" in text
    assert "map_at_r against each key" in text
    assert "0.3750 (2)" in text  # the mean of both seeds
    assert "lost failed: it diverged" in text
    for heading in ("Leaderboard", "Curves", "What differs between the recipes", "Scores against each key"):
        assert heading in text


def test_the_front_door_tells_runs_and_sweeps_apart(tmp_path, capsys):
    _run(tmp_path / "first", 0.5)
    _run(tmp_path / "second", 0.75)
    _sweep(tmp_path / "margins", failed=0)
    assert main(["report", "first", "second", "--runs_dir", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").exists()
    assert main(["report", "margins", "--runs_dir", str(tmp_path)]) == 0
    assert (tmp_path / "margins" / "report.html").exists()
    capsys.readouterr()
    assert main(["report", "first", "first", "--runs_dir", str(tmp_path)]) == 2
    assert "one of them is named twice" in capsys.readouterr().err


def test_a_sweep_without_an_ended_trial_and_a_broken_record_are_told(tmp_path):
    table = tmp_path / "sweep.csv"
    table.write_text("margin,seed,status,seconds,run,reason\n", encoding="utf-8")
    with pytest.raises(UserError, match="no trial of the sweep"):
        write_sweep_report(tmp_path, tmp_path / "report.html")
    for broken in ("", "margin,run\n", "margin,seed,status,seconds,run,reason\n0.5,zero,done,1.0,first,\n"):
        table.write_text(broken, encoding="utf-8")
        with pytest.raises(UserError, match="is not a sweep's table"):
            write_sweep_report(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
