"""`dml sweep` from the outside."""

import csv
import os
import signal
import sys
from pathlib import Path

import pytest
import torch

from dml import runs
from dml.callbacks import GracefulInterrupt

pytestmark = pytest.mark.usefixtures("collected")


def _rows():
    with Path("runs/s/sweep.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


SWEEP = ("--over", "model.loss.margin=0.2,0.5", "--name", "s")


def test_a_trial_is_the_run_that_fit_makes_and_the_best_recipe_makes_it_again(dml, small):
    code, out, err = dml("sweep", *SWEEP, "--seeds", "0,1", *small)
    assert code == 0, err
    assert out.count("val/map_at_r 0.") == 4
    assert dml("fit", "--name", "alone", *small, "--model.loss.margin=0.5", "--seed_everything=1")[0] == 0
    trial = next(Path("runs/s").glob("margin=0.5_seed=1_*"))
    assert runs.read_json(trial / "scores.json") == runs.read_json(Path("runs/alone/scores.json"))
    assert "monitor   tensorboard" in next(Path("runs/s/logs").glob("margin=0.5_seed=1_*")).read_text()
    trials = _rows()
    means = {m: sum(float(t["val/map_at_r"]) for t in trials if t["model.loss.margin"] == m) for m in ("0.2", "0.5")}
    assert dml("fit", "--name", "best", "--config", "runs/s/best.yaml")[0] == 0
    best = runs.read_json(Path("runs/best/scores.json"))["val"]["map_at_r"]
    of_best = [float(t["val/map_at_r"]) for t in trials if t["model.loss.margin"] == max(means, key=means.get)]
    assert best == of_best[0]


def test_ctrl_c_stops_it_and_the_same_command_ends_where_the_whole_ends(dml, small, monkeypatch):
    assert dml("sweep", "--over", "model.loss.margin=0.2,0.5", "--name", "whole", *small)[0] == 0

    def press(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 5 and pl_module.loss.margin == 0.5:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(GracefulInterrupt, "on_train_batch_start", press, raising=False)
        code, out, _ = dml("sweep", *SWEEP, *small)
    assert code == 130
    assert "go on with the same command and --name s" in out
    assert len(_rows()) == 1
    assert dml("sweep", *SWEEP, *small)[0] == 0
    for whole in Path("runs/whole").glob("margin=*"):
        one, other = (
            torch.load(Path(f"runs/{s}") / whole.name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
            for s in ("whole", "s")
        )
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_trial_that_diverges_does_not_end_it(dml, small):
    over = ("--over", "model.optimizer.lr=0.001,1e30", "--name", "s", "--model.optimizer=torch.optim.SGD")
    code, out, _ = dml("sweep", *over, *small)
    assert code == 1
    assert "training diverged" in Path("runs/s/sweep.csv").read_text()
    assert "1 of 2 trials failed" in out
    assert "lr=0.001" in out


def test_another_loss_is_swept_without_what_the_recipe_gave_its_own(dml, small):
    over = ("--over", "model.loss.temperature=0.1", "--name", "s", "--model.loss", "dml.losses.ProxyContrastiveLoss")
    code, _, err = dml("sweep", *over, *small)
    assert code == 0, err
    loss = runs.parse_yaml(Path("runs/s/best.yaml").read_text(), "the best recipe")["model"]["init_args"]["loss"]
    assert loss["class_path"] == "dml.losses.ProxyContrastiveLoss"
    assert loss["init_args"]["temperature"] == 0.1
    assert "margin" not in loss["init_args"]


def test_a_trial_that_is_behind_is_pruned(dml, small):
    over = ("--over", "model.optimizer.lr=0.001,1e-9", "--name", "s", "--prune", "asha", "--prune_factor", "2")
    code, out, err = dml("sweep", *over, *small)
    assert code == 0, err
    assert "lr=1e-9 seed=0  pruned: val/map_at_r 0." in out
    assert "after 1 epochs is behind the other trials'" in out
    assert [row["status"] for row in _rows()] == ["done", "pruned"]
    assert "lr: 0.001" in Path("runs/s/best.yaml").read_text()
    assert "DML_SWEEP" not in str(os.environ)


TRIAL = """
import os, pathlib, sys, time
words = sys.argv[1:]
assert words[:3] == ["-m", "dml", "fit"], words
named = dict(zip(words, words[1:]))
run = pathlib.Path(named["--runs_dir"], named["--name"])
run.mkdir(parents=True)
pathlib.Path(f"pid-{os.getpid()}").touch()
while len(list(pathlib.Path().glob("pid-*"))) < 2:  # the other one runs at the same time
    time.sleep(0.01)
(run / "config.yaml").write_text("seed_everything: 0")
(run / "scores.json").write_text('{"val": {"map_at_r": 0.5}}')
"""


def test_in_parallel_two_trials_run_at_the_same_time(dml, small, monkeypatch, tmp_path):
    Path("python").write_text(f"#!{sys.executable}\n{TRIAL}")
    Path("python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    code, out, err = dml("sweep", *SWEEP, "--parallel", "2", *small)
    assert code == 0, err
    assert out.count("val/map_at_r 0.5") == 2
    assert [row["status"] for row in _rows()] == ["done", "done"]
    assert f"pid-{os.getpid()}" not in {path.name for path in Path().glob("pid-*")}


@pytest.mark.slow
def test_in_parallel_each_trial_is_a_process(dml, small):
    code, _, err = dml("sweep", *SWEEP, "--parallel", "2", *small)
    assert code == 0, err
    assert len(list(Path("runs/s").glob("margin=*/checkpoints/best.ckpt"))) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "nothing to sweep"),
        (("--over", "model.loss.marginn=1,2"), "marginn"),
        (("--over", "nonsense=1,2"), "nonsense"),
        (("--over", "model.loss.margin=0.1,abc"), "model.loss.margin: 'abc' is not a number"),
        (("--over", "trainer.max_epochs=1:2:3"), "trainer.max_epochs: '1.5' is not a whole number"),
        (("--over", "trainer.max_epochs=1:20", "--search", "random"), "is not a whole number"),
        (("--over", "model.loss.margin=2:1:5"), "the range is empty"),
        (("--over", "model.loss.margin=1:2"), "give the number of values"),
        (("--over", "model.loss.margin=1,2", "--score", "accuracy"), "give one that a trial writes"),
        (("--over", "model.loss.margin=1,2", "--trials", "3"), "--trials"),
        (("--over", "model.loss.margin=1,2", "--prune_from", "3"), "give that too"),
        (("--over", "model.loss.margin=1,2", "--storage", "journal:x"), "--name"),
        (("--over", "model.loss.margin=1,2", "--name", "s", "--storage", "x"), "--storage 'x' is neither"),
        (("--over", "model.loss.margin=1,2", "--name", "s", "--storage", "journal:no/sweeps"), "cannot be reached"),
        (("--over", "model.loss.margin=1,2", "--name", "s", "--storage", "sqlite:////no/x.db"), "cannot be reached"),
        (
            ("--over", "model.loss.margin=1,2", "--name", "s", "--storage", "postgresql://h.invalid/x"),
            "storage postgresql://h.invalid/x",
        ),
        (("--over", "model.loss.margin=1,2", "--seeds", "a"), "--seeds"),
        (("--over", "model.loss.margin=1,2", "--seeds", "1,1"), "--seeds"),
        (("--over", "model.loss.margin=1,2", "--parallel", "0"), "--parallel"),
        (("--over", "model.loss.margin=1,2", "--name", "a/b"), "plain folder name"),
        (("--over", "model.loss.margin=1,2", "--config", "missing.yaml"), "missing.yaml"),
        (("--over", "model.loss.margin=1,2", "--data.root", "missing"), "missing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line_and_leaves_no_sweep(dml, words, told):
    code, _, err = dml("sweep", *words)
    assert code == 2, err
    lines = [line for line in err.splitlines() if line.startswith("dml: ")]
    assert len(lines) == 1
    assert told in lines[0]
    assert "Traceback" not in err
    assert not list(Path().glob("runs/*/best.yaml"))
