"""Every mistake a user can make ends in one line on standard error, exit code 2, and nothing written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dml.cli import main


def _photos(root, classes=("daisy", "iris"), each=8):
    generator = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(each):
            Image.fromarray(generator.integers(0, 255, (16, 16, 3), np.uint8)).save(root / name / f"{number}.png")
    return root


def _one_line(dml, *words):
    code, _, err = dml(*words)
    assert code == 2, err
    lines = [line for line in err.splitlines() if line.startswith("dml: ")]
    assert len(lines) == 1
    assert "Traceback" not in err
    assert not Path("runs").exists()
    return lines[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("frobnicate",), "no verb 'frobnicate': choose one of fit, "),
        (("fitt",), "no verb 'fitt': did you mean fit?"),
        (("evaluate", "--labels", "y.npy"), "--labels goes with --embeddings FILE"),
        (("evaluate", "--queries", "new", "--labels", "y.npy"), "--labels goes with --embeddings FILE"),
        (("evaluate", "--reference_embeddings", "x.npy"), "--reference_embeddings goes with --embeddings FILE"),
        (("evaluate", "--embeddings", "x.npz", "--split", "test"), "takes neither a run nor a recipe, no --split"),
        (("evaluate", "--embeddings", "x.npz", "--ckpt_path", "last"), "no --ckpt_path"),
        (("predict", "--run", "first", "photos"), "'photos' stands behind an option: give PATH before all options"),
        (("predict", "photos", "--output", "x.npy"), "give a name that ends in .npz or .parquet"),
        (("predict", "--output", "x.parquet"), "ends in .npz for a run's own images"),
        (("index", "first", "--add", "photos", "--output", "my.idx"), "a name that ends in .npz"),
        (("export", "first", "--out", "x", "--config", "mine.yaml"), "export takes no --config"),
        (("export", "first", "--out", "x", "--ckpt_path", "some.ckpt"), "invalid choice: 'some.ckpt'"),
        (("fit", "--nmae", "x"), "unrecognized arguments: --nmae x"),
        (("fit", "--data.batch_sise", "5"), "did you mean --data.batch_size?"),
        (("fit", "--data.batch_size", "five"), "data.batch_size"),
        (("fit", "--trainer.max_epochs", "many"), "trainer.max_epochs: 'many' is not a whole number"),
        (("fit", "--model.loss.marginn", "1"), "(did you mean --model.loss.margin?)"),
        (("fit", "--lr", "0.1"), "(did you mean --model.optimizer.lr?)"),
        (("fit", "--epochs", "3"), "(did you mean --trainer.max_epochs?)"),
        (("fit", "--trainer.max_ep", "3"), "(did you mean --trainer.max_epochs?)"),
        (("fit", "--nmae", "first"), "(did you mean --name?)"),
        (("fit", "photos"), "(did you mean --data.root photos?)"),
        (("fit", "--model.loss", "TripetLoss"), "no class 'TripetLoss': did you mean dml.losses.TripletLoss?"),
        (("fit", "--model.optimizer", "AdamX"), "did you mean torch.optim.Adam?"),
        (("fit", "--model.optimizer.lr", "fast"), "model.optimizer.lr: 'fast' is not a number"),
        (("fit", "--model", "dml.modules.ClassifierModule"), "give --model.encoder and --model.head"),
        (("fit", "--model.encoder", "dml.encoders.Nothing"), "dml.encoders.Nothing"),
        (("fit", "--model.encoder", "torch.nn.Linear"), "subclass of Encoder"),
        (("fit", "--config", "missing.yaml"), "missing.yaml"),
        (("fit", "--name", "a/b"), "plain folder name"),
        (("fit", "--ckpt_path", "missing.ckpt"), "no checkpoint missing.ckpt"),
        (("fit", "--ckpt_path", "last"), "no runs in runs"),
        (("fit", "--data.root", "missing"), "missing"),
        (("fit", "--evaluation.k", "5000"), "k=5000"),
        (("fit", "--model.encoder", "dml.encoders.FlattenEncoder"), "nothing to learn"),
        (("fit", "--checkpoint.monitor", "val/recal_at_1"), "is not logged by this run: did you mean val/recall_at_1?"),
        (
            ("fit", "--evaluation.scores", "[map_at_t]"),
            "evaluation.scores: there is no 'map_at_t': did you mean map_at_r?",
        ),
        (
            ("fit", "--evaluation.scores", "[recall_at_1]"),
            "'val/map_at_r' is not logged by this run: name it in evaluation.scores",
        ),
        (
            ("fit", "--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor", "val/accuracy"),
            "EarlyStopping.monitor='val/accuracy' is not logged by this run",
        ),
        (
            (
                *("fit", "--model.lr_scheduler", "lightning.pytorch.cli.ReduceLROnPlateau"),
                *("--model.lr_scheduler.monitor", "val/los"),
            ),
            "model.lr_scheduler.monitor='val/los' is not logged by this run: did you mean val/loss?",
        ),
        (
            ("fit", "--model.lr_scheduler", "torch.optim.lr_scheduler.ReduceLROnPlateau"),
            "does not know which score to look at: give --model.lr_scheduler lightning.pytorch.cli.ReduceLROnPlateau",
        ),
        (("fit", "--trainer.logger", "MLFlowLogger"), "Requirement 'mlflow"),
        (("fit", "--trainer.limit_val_batches", "0"), "trainer.limit_val_batches is 0, so nothing would be validated"),
        (("fit", "--data.split.val", "0"), "the split has no validation images: set data.split.val above 0"),
        (("fit", "--model.encoder_lr_decay", "0.5"), "set model.encoder_lr"),
        (
            (
                *("fit", "--data.transform", "dml.data.ProgressiveResizing", "--data.transform.sizes", "[4,8]"),
                *("--data.transform.starts", "[0,1]", "--model.encoder", "dml.encoders.MLPEncoder"),
            ),
            "data.transform shows images of 4×4 pixels, which MLPEncoder, built for 8×8, cannot take",
        ),
        (
            ("fit", "--trainer.callbacks", "BatchSizeFinder", "--data.classes_per_batch", "10"),
            "BatchSizeFinder.init_val=2: batches of 10 classes need a multiple of 10, at least 20",
        ),
        (("audit", "--data.roo", "photos"), "(did you mean --data.root?)"),
        (("compare", "first", "second", "--spl", "val"), "unrecognized arguments: --spl"),
        (("fit", "--data.batch_size", "0"), "batch_size"),
        (("fit", "--data.image_size", "0"), "image_size"),
        (("validate", "--run", "nowhere"), "no run 'nowhere'"),
        (("test",), "no runs in runs"),
        (("completion", "fish"), "invalid choice"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_it_is_told_in_one_line(dml, words, told):
    assert told in _one_line(dml, *words)


def test_an_empty_folder(dml):
    Path("empty").mkdir()
    assert "empty" in _one_line(dml, "fit", "--data.root", "empty")


def test_one_class_only(dml, tmp_path):
    _photos(tmp_path / "photos", classes=("daisy",))
    assert "class" in _one_line(dml, "fit", "--data.root", "photos", "--data.classes_per_batch", "null")


def test_more_classes_per_batch_than_there_are(dml, tmp_path):
    _photos(tmp_path / "photos", each=30)
    assert "classes_per_batch" in _one_line(dml, "fit", "--data.root", "photos", "--data.classes_per_batch", "3")


def test_an_unreadable_image_is_named_or_skipped(dml, tmp_path):
    (_photos(tmp_path / "photos", each=30) / "iris" / "0.png").write_bytes(b"no image")
    keys = ("--data.root", "photos", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu")
    keys += ("--data.batch_size", "20", "--data.classes_per_batch", "2")
    assert str(Path("iris/0.png")) in _one_line(dml, "fit", *keys)
    code, out, err = dml(
        "fit",
        *keys,
        "--data.on_error",
        "skip",
        "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
    )
    assert code == 0, err
    assert "1 unreadable image" in out + err


def test_an_existing_name(dml):
    Path("runs/first").mkdir(parents=True)
    code, _, err = dml("fit", "--name", "first")
    assert code == 2
    assert "run 'first' exists" in err


def test_another_models_checkpoint(dml):
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2.5.0"}, "other.ckpt")
    line = _one_line(dml, "fit", "--ckpt_path", "other.ckpt", "--trainer.accelerator", "cpu")
    assert "the checkpoint is of another model" in line


def test_a_checkpoint_that_is_none(dml):
    Path("broken.ckpt").write_bytes(b"not a checkpoint")
    assert "broken.ckpt" in _one_line(dml, "fit", "--ckpt_path", "broken.ckpt", "--trainer.accelerator", "cpu")


def test_debug_shows_the_traceback():
    with pytest.raises(ValueError, match="no verb"):
        main(["--debug", "frobnicate"])


def test_the_help_of_predict_shows_its_path(capsys):
    with pytest.raises(SystemExit) as left:
        main(["predict", "--help"])
    assert left.value.code == 0
    assert "PATH" in capsys.readouterr().out.split("options:")[0]
