"""`dml fit` from the outside: what it writes, how it resumes, how it ends."""

import os
import signal
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dml import runs
from dml.callbacks import GracefulInterrupt


def _weights(name, checkpoint="last"):
    return torch.load(f"runs/{name}/checkpoints/{checkpoint}.ckpt", weights_only=True)["state_dict"]


def _assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_without_arguments_it_learns_the_digits_better_than_pixels(dml):
    code, out, _ = dml("fit", "--name", "first", "--trainer.max_epochs", "6", "--trainer.accelerator", "cpu")
    assert code == 0
    scores = runs.read_json(Path("runs/first/scores.json"))
    for score in ("knn_accuracy", "recall_at_1", "map_at_r"):
        assert f"{scores['val'][score]:.4f}" in out
        assert 0 <= scores["baselines"]["untrained"]["val"][score] < scores["val"][score]
    assert scores["val"]["map_at_r"] > scores["baselines"]["pixels"]["val"]["map_at_r"] + 0.2
    assert "runs/first" in out


def test_a_run_holds_what_the_contract_names(dml, pictured):
    assert dml("fit", "--name", "first", *pictured)[0] == 0
    run = Path("runs/first")
    assert {p.name for p in run.iterdir()} >= {"config.yaml", "checkpoints", "scores.json", "protocol.json", "pictures"}
    assert {p.name for p in (run / "pictures").iterdir()} == {"gallery.png", "pca.png", "weights.png"}
    events = EventAccumulator(str(run)).Reload()
    assert {"train/loss", "val/loss", "val/map_at_r", "train/lr-Adam"} <= set(events.Tags()["scalars"])
    assert {"gallery", "pca", "weights"} <= set(events.Tags()["images"])
    assert "weights/encoder.projection.weight" in events.Tags()["histograms"]
    assert next(run.glob("*/val/sprite.png")).stat().st_size > 0  # the projector's thumbnails
    protocol = runs.read_json(run / "protocol.json")
    assert protocol["data"]["trained_on"] == {"images": 1079, "classes": 10}
    assert protocol["test_part_scored_before_by"] == {}
    recipe = yaml.safe_load((run / "config.yaml").read_text())
    assert recipe["model"]["init_args"]["encoder"]["init_args"]["channels"] == [8, 16]


def test_the_recipe_of_a_run_gives_the_same_run(dml, small):
    assert dml("fit", "--name", "first", *small)[0] == 0
    assert dml("fit", "--name", "again", "--config", "runs/first/config.yaml")[0] == 0
    _assert_same(_weights("first"), _weights("again"))
    assert runs.read_json(Path("runs/first/scores.json")) == runs.read_json(Path("runs/again/scores.json"))


@pytest.mark.parametrize(
    ("sent", "step"),
    [(signal.SIGINT, 3), (signal.SIGTERM, 10), (signal.SIGINT, 14)],
    ids=["in the first epoch", "between epochs", "in the second epoch"],
)
def test_ctrl_c_saves_a_checkpoint_and_a_resume_ends_where_the_whole_run_ends(dml, small, monkeypatch, sent, step):
    assert dml("fit", "--name", "whole", *small)[0] == 0

    def press(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == step - 1:
            os.kill(os.getpid(), sent)

    with monkeypatch.context() as patch:
        patch.setattr(GracefulInterrupt, "on_train_batch_start", press)
        code, out, _ = dml("fit", "--name", "halved", *small)
    assert code == 130
    assert "--name halved --ckpt_path last" in out
    saved = torch.load("runs/halved/checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == step
    assert dml("fit", "--name", "halved", "--ckpt_path", "last")[0] == 0
    _assert_same(_weights("whole"), _weights("halved"))
    whole, halved = (runs.read_json(Path(f"runs/{name}/scores.json")) for name in ("whole", "halved"))
    assert whole == halved


def test_a_finished_run_can_be_trained_on(dml, small):
    assert dml("fit", "--name", "first", *small)[0] == 0
    assert dml("fit", "--ckpt_path", "last", "--trainer.max_epochs", "3")[0] == 0
    assert torch.load("runs/first/checkpoints/last.ckpt", weights_only=True)["epoch"] == 2
    assert yaml.safe_load(Path("runs/first/config.yaml").read_text())["trainer"]["max_epochs"] == 3


def test_a_rehearsal_keeps_nothing(dml, small):
    code, told = dml("fit", "--trainer.fast_dev_run", "true", *small)[:2]
    assert code == 0
    assert told.splitlines()[-1].startswith("the recipe runs")
    assert not Path("runs").exists()


def test_any_lightning_logger_is_reached_by_class_path(dml, small):
    logger = ("--trainer.logger=lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir=logs")
    assert dml("fit", "--name", "first", *small, *logger)[0] == 0
    header = next(Path("logs").rglob("metrics.csv")).read_text().splitlines()[0]
    assert {"train/loss", "val/loss", "val/map_at_r", "val/knn_accuracy", "lr-Adam"} <= set(header.split(","))
    assert not list(Path("runs/first").glob("events*"))


def test_softmax_regression_is_a_recipe(dml):
    keys = (
        "--model=dml.modules.ClassifierModule",
        "--model.encoder=dml.encoders.FlattenEncoder",
        "--model.head=dml.heads.LinearHead",
        "--model.head.num_classes=10",
        "--model.optimizer=torch.optim.Adam",
        "--model.optimizer.lr=0.01",
    )
    shared = (
        "--trainer.max_epochs=8",
        "--trainer.accelerator=cpu",
        "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
    )
    Path("softmax.yaml").write_text("seed_everything: 0\n")
    assert dml("fit", "--name", "softmax", "--config", "softmax.yaml", *keys, *shared)[0] == 0
    assert runs.read_json(Path("runs/softmax/scores.json"))["val"]["accuracy"] > 0.9


def test_validate_test_and_predict_take_a_run(dml, small):
    assert dml("fit", "--name", "first", *small)[0] == 0
    fitted = runs.read_json(Path("runs/first/scores.json"))
    assert dml("validate", "--run", "first")[0] == 0
    assert runs.read_json(Path("runs/first/scores.json"))["val"] == pytest.approx(fitted["val"])
    assert dml("test")[0] == 0
    assert set(runs.read_json(Path("runs/first/scores.json"))) == {"val", "train", "baselines", "test", "intervals"}
    code, out, _ = dml("predict", "--output", "x.npz")
    assert code == 0
    assert "1797 samples, 64 numbers each" in out
    code, _, err = dml("predict", "--output", "x.npz")
    assert code == 2
    assert "x.npz exists" in err


def test_pixels_are_scored_by_a_recipe_that_needs_no_training(dml):
    Path("pixels.yaml").write_text(
        "model:\n  class_path: dml.modules.EmbeddingModule\n  init_args:\n"
        "    encoder: dml.encoders.FlattenEncoder\n    loss: dml.losses.PullLoss\n"
    )
    code, out, _ = dml("validate", "--config", "pixels.yaml", "--trainer.accelerator=cpu")
    assert code == 0
    assert "0.97" in out
    assert not Path("runs").exists()


@pytest.mark.parametrize("lr", ["1e30", "1e3"])
def test_a_training_that_diverges_says_so(dml, lr):
    diverging = (f"--model.optimizer.lr={lr}", "--trainer.accelerator=cpu", "--trainer.max_epochs=1")
    code, _, err = dml("fit", "--name", "first", *diverging)
    assert code == 4
    assert "dml: training diverged" in err
    assert "lower model.optimizer.lr" in err
    assert err.count("\n") == 1


def test_several_loggers(dml, small):
    Path("two.yaml").write_text(
        "trainer: {logger: [{class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: a}}, "
        "{class_path: lightning.pytorch.loggers.TensorBoardLogger, init_args: {save_dir: b}}]}"
    )
    code, _, err = dml("fit", "--config", "two.yaml", "--name", "first", *small, "--trainer.max_epochs=1")
    assert code == 0, err
    assert list(Path("a").rglob("metrics.csv"))
    assert list(Path("b").rglob("events.*"))


def test_the_curves_of_a_training_lost_at_once_are_kept(dml):
    code, _, err = dml("fit", "--name", "first", "--model.optimizer.lr=1e30", "--trainer.accelerator=cpu")
    assert code == 4
    assert "its curves are in runs/first" in err
    assert list(Path("runs/first").glob("events.*"))
