"""The recipes in configs/records are parsed and built, and those of classes run an epoch end to end on small images."""

from pathlib import Path

import numpy as np
import pytest

from dml.cli import main
from dml.cli.trainer import TrainerCLI
from dml.runs import read_scores

FOLDER = Path(__file__).parents[1] / "configs" / "records"
FILES = sorted(FOLDER.glob("*.yaml"))
ARRAYS = ("--data.split=dml.data.StratifiedSplit", "--data.split.val=40", "--data.split.test=0", "--data.cache=false")
SMALL = ("--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.max_epochs=2", "--evaluation.k=5")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_recipe_is_parsed(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = ("--model.loss.num_classes=10", "--model.loss.embedding_dim=8") if "Proxy" in file.read_text() else ()
    assert TrainerCLI(["--config", str(file), *sizes], None).trainer.max_epochs > 1


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("images.npz", images=rng.integers(0, 256, (120, 16, 16, 3), np.uint8), labels=np.arange(120) % 10)
    return "images.npz"


def test_the_cifar10_recipe_runs_end_to_end(images):
    own = ("--data.batch_size=40", "--model.encoder.encoder.channels=[8,8]", "--name=run")
    words = ["fit", "--config", str(FOLDER / "cifar10_knn.yaml"), "--data.root", images, *own]
    assert (
        main([*words, *ARRAYS, *SMALL, "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}"]) == 0
    )
    scores = read_scores(Path("runs/run/scores.json"))
    assert 0 <= scores["val"]["knn_accuracy"] <= 1


def test_the_flowers_recipe_runs_two_batches(images):
    own = ("--data.image_size=16", "--data.classes_per_batch=10", "--data.batch_size=40")
    quick = ("--trainer.fast_dev_run=2", "--evaluation.baselines=false", "--model.encoder.encoder.channels=[8,8,8,8]")
    words = ["fit", "--config", str(FOLDER / "flowers_conv.yaml"), "--data.root", images, *own, *quick]
    assert main([*words, *ARRAYS, *SMALL]) == 0
