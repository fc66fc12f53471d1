"""How a run ends and begins: scores before pictures, one folder for one run, a killed run begins anew."""

import os
import signal
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dml import reports, runs
from dml.callbacks import GracefulInterrupt
from dml.cli import main

QUICK = ("--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}", "--evaluation.baselines=false")


def _scores(name):
    return runs.read_json(Path(f"runs/{name}/scores.json"))


def _weights(name, checkpoint):
    return torch.load(f"runs/{name}/checkpoints/{checkpoint}.ckpt", weights_only=True)["state_dict"]


def _photos(root, names, each=24):
    """Make folders of photographs, each class of one grey, so that none is mistaken for another."""
    generator = np.random.default_rng(0)
    for number, name in enumerate(names):
        folder = os.path.join(os.fsencode(root), os.fsencode(name))  # noqa: PTH118
        os.makedirs(folder)  # noqa: PTH103
        for image in range(each):
            grey = generator.integers(100 * number, 100 * number + 20, (16, 16, 3), np.uint8)
            Image.fromarray(grey).save(os.path.join(folder, b"%d.png" % image))  # noqa: PTH118
    return ("--data.root", root, "--data.batch_size", "16", "--data.classes_per_batch", "2", "--data.image_size", "16")


@pytest.mark.parametrize(
    "key",
    ["--trainer.max_steps=2", "--trainer.check_val_every_n_epoch=99"],
)
def test_a_run_never_validated_is_validated_at_its_end(dml, small, key):
    code, out, err = dml("fit", "--name", "first", *small, *QUICK, key)
    assert code == 0, err
    assert "the best checkpoint is the last" in out
    best, last = _weights("first", "best"), _weights("first", "last")
    assert all(torch.equal(best[name], last[name]) for name in last)
    fitted = _scores("first")["val"]
    assert {"loss", "map_at_r", "knn_accuracy"} <= fitted.keys()
    assert runs.read_json(Path("runs/first/protocol.json"))["best_checkpoint_chosen_by"] == "nothing: it is the last"
    assert dml("validate", "--run", "first")[0] == 0
    assert _scores("first")["val"] == pytest.approx(fitted)


def test_trained_on_without_validation_best_is_again_the_last(dml, small):
    assert dml("fit", "--name", "first", *small, *QUICK, "--trainer.max_steps=2")[0] == 0
    assert dml("fit", "--name", "first", "--ckpt_path", "last", "--trainer.max_steps=4")[0] == 0
    assert torch.load("runs/first/checkpoints/best.ckpt", weights_only=True)["global_step"] == 4
    assert (
        dml("fit", "--name", "first", "--ckpt_path", "last", "--trainer.max_steps=-1", "--trainer.max_epochs=3")[0] == 0
    )
    assert torch.load("runs/first/checkpoints/best.ckpt", weights_only=True)["global_step"] > 4
    chosen = runs.read_json(Path("runs/first/protocol.json"))["best_checkpoint_chosen_by"]
    assert chosen == "val/map_at_r"


@pytest.mark.parametrize("key", ["max_epochs", "max_steps", "limit_train_batches", "limit_val_batches"])
def test_what_never_trains_or_validates_is_refused_before_it_starts(dml, small, key):
    code, out, err = dml("fit", "--name", "first", *small, f"--trainer.{key}=0")
    assert code == 2
    assert f"dml: trainer.{key} is 0" in err
    assert "training images" not in out
    assert not Path("runs").exists()


@pytest.mark.filterwarnings("ignore:.*overflow.*:RuntimeWarning")
def test_an_infinite_score_is_named_and_left_out(dml, small):
    code, _, err = dml("fit", "--name", "first", *small, *QUICK, "--model.loss.margin=1e38")
    assert code == 0, err
    assert [line for line in err.splitlines() if line.startswith("dml: ")] == [
        "dml: val/loss: infinite or not a number, so not in runs/first/scores.json"
    ]
    assert "loss" not in _scores("first")["val"]
    code, _, err = dml("evaluate", "--run", "first")
    assert code == 0, err
    assert dml("report", "first")[0] == 0
    assert "map_at_r" in _scores("first")["val"]


@pytest.mark.parametrize("names", [("$5_$10", "$\\frac"), (b"caf\xe9", b"th\xff")], ids=["mathtext", "not UTF-8"])
def test_class_folders_may_have_any_name(dml, pictured, names, caplog):
    data = _photos("photos", names)
    code, _, err = dml("fit", "--name", "first", *pictured, *data, "--evaluation.baselines=false")
    assert code == 0, err
    assert "left out" not in caplog.text
    assert {p.name for p in Path("runs/first/pictures").iterdir()} == {"gallery.png", "pca.png", "weights.png"}
    assert "map_at_r" in _scores("first")["val"]
    assert dml("evaluate", "--run", "first")[0] == 0
    code, _, err = dml("report", "first")
    assert code == 0, err


def test_images_decoded_on_the_way_of_which_none_is_suspect(dml, small, caplog):
    data = _photos("photos", ("dark", "light"))
    keys = ("--data.memory_limit=0", "--evaluation.baselines=false")
    code, _, err = dml("fit", "--name", "first", *small, *data, *keys)
    assert code == 0, err
    assert "left out" not in caplog.text
    assert _scores("first")["val"]["map_at_r"] == 1
    code, _, err = dml("evaluate", "--run", "first")
    assert code == 0, err
    assert "left out" not in caplog.text


def test_a_picture_that_cannot_be_drawn_costs_no_run(dml, pictured, monkeypatch, caplog):
    def fail(*_):
        assert _scores("first")["val"]["map_at_r"] > 0  # written before anything is drawn
        raise RuntimeError("no such\nfont")

    monkeypatch.setattr(reports, "retrieval_gallery", fail)
    assert dml("fit", "--name", "first", *pictured, "--evaluation.baselines=false")[0] == 0
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        "dml: the picture 'gallery' is left out: no such font"
    ]
    assert {p.name for p in Path("runs/first/pictures").iterdir()} == {"pca.png", "weights.png"}


def test_a_run_killed_before_its_first_checkpoint_begins_anew(dml, small, in_process):
    assert dml("fit", "--name", "whole", *small, *QUICK)[0] == 0
    words = ["fit", "--name", "killed", *small, *QUICK]
    assert in_process(_killed_in_a_step, words) == -signal.SIGKILL
    assert not list(Path("runs/killed").glob("checkpoints/*.ckpt"))
    left = next(file for file in Path("runs/killed").glob("events*") if file.suffix != ".recipe")  # that is replaced
    code, _, err = dml("fit", *words[1:])
    assert code == 2
    assert "--name killed --ckpt_path last" in err
    code, out, err = dml("fit", "--ckpt_path", "last", "--name", "killed")
    assert code == 0, err
    assert "run runs/killed was stopped before its first checkpoint: it starts over" in out
    assert not left.exists()
    assert _scores("killed") == _scores("whole")
    assert all(torch.equal(w, _weights("killed", "last")[name]) for name, w in _weights("whole", "last").items())


def _killed_in_a_step(words):
    def die(self, trainer, module, batch, batch_idx):
        if trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    GracefulInterrupt.on_train_batch_start = die
    main(words)


def test_a_run_killed_while_it_replaces_its_checkpoint_goes_on_from_the_old_one(dml, small, in_process):
    assert dml("fit", "--name", "whole", *small, *QUICK)[0] == 0
    assert in_process(_killed_writing, ["fit", "--name", "killed", *small, *QUICK]) == -signal.SIGKILL
    checkpoints = Path("runs/killed/checkpoints")
    assert torch.load(checkpoints / "last.ckpt", weights_only=True)["epoch"] == 0
    assert (checkpoints / ".last.ckpt.tmp").exists()
    assert dml("fit", "--name", "killed", "--ckpt_path", "last")[0] == 0
    assert {path.name for path in checkpoints.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert _scores("killed") == _scores("whole")
    assert all(torch.equal(w, _weights("killed", "last")[name]) for name, w in _weights("whole", "last").items())


def _killed_writing(words):
    replace, written = os.replace, []

    def die(old, new):
        written.append(str(new))
        if sum(path.endswith("last.ckpt") for path in written) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(old, new)

    os.replace = die
    main(words)


def test_a_run_killed_before_its_recipe_was_written_needs_it_again(dml, small):
    runs.write_bytes(Path("runs/first/.lock"), b"")
    code, _, err = dml("fit", "--name", "first", "--ckpt_path", "last")
    assert code == 2
    assert "give the recipe again" in err
    assert dml("fit", "--name", "first", "--ckpt_path", "last", *small, *QUICK)[0] == 0
    assert "map_at_r" in _scores("first")["val"]


def test_a_run_that_has_ended_is_never_cleared(dml, small):
    assert dml("fit", "--name", "first", *small, *QUICK)[0] == 0
    Path("runs/first/checkpoints/last.ckpt").unlink()
    code, _, err = dml("fit", "--name", "first", "--ckpt_path", "last")
    assert code == 2
    assert "run runs/first has ended" in err
    assert Path("runs/first/checkpoints/best.ckpt").exists()


def test_a_run_begun_anew_that_fails_leaves_nothing(dml, small):
    runs.write_bytes(Path("runs/first/.lock"), b"")
    assert dml("fit", "--name", "first", "--ckpt_path", "last", *small, "--data.root", "missing")[0] == 2
    assert list(Path("runs").iterdir()) == []


def test_two_resumes_of_one_run_and_a_second_fit_of_its_name(dml, small):
    assert dml("fit", "--name", "first", *small, *QUICK)[0] == 0
    before = Path("runs/first/checkpoints/last.ckpt").read_bytes()
    with runs.held_run(Path("runs/first")):
        code, _, err = dml("fit", "--name", "first", "--ckpt_path", "last", "--trainer.max_epochs=3")
        assert code == 2
        assert err.splitlines() == [
            "dml: run runs/first is being trained by another process: wait for it, or choose another name"
        ]
        assert Path("runs/first/checkpoints/last.ckpt").read_bytes() == before
        code, _, err = dml("fit", "--name", "first", *small)
        assert code == 2
        assert "run 'first' exists" in err
        assert len([line for line in err.splitlines() if line.startswith("dml: ")]) == 1


def test_a_fit_in_the_second_of_another_has_another_name(dml, small, monkeypatch):
    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 1)

    monkeypatch.setattr(runs.folder, "datetime", Frozen)
    with runs.begun_run("runs") as first:
        assert first.name == "2026-01-01_00-00-00"
        assert dml("fit", *small, *QUICK, "--trainer.max_steps=2")[0] == 0
    assert [run.name for run in Path("runs").iterdir()] == ["2026-01-01_00-00-00-2"]


def test_a_second_process_of_a_training_takes_no_folder(tmp_path, monkeypatch):
    (tmp_path / "runs" / "first").mkdir(parents=True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with runs.begun_run(tmp_path / "runs", "first") as run, runs.held_run(run):
        assert run == tmp_path / "runs" / "first"
    assert list(run.iterdir()) == []
    with runs.begun_run(tmp_path / "runs") as run:
        assert not run.exists()


def test_a_training_without_a_step_is_told_and_leaves_nothing(dml, small):
    code, _, err = dml("fit", "--name", "first", *small, *QUICK, "--trainer.max_time=00:00:00:00")
    assert code == 2
    assert "dml: nothing was trained" in err
    assert not Path("runs").exists()


def test_a_recipe_that_is_only_printed_leaves_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["fit", "--print_config"])
    assert "max_epochs" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
