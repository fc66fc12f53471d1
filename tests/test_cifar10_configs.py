"""The CIFAR-10 recipes of part B are parsed, built, and run a batch each on images of their shape."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from dml.cli import main
from dml.encoders import pretrained_encoder

FOLDER = Path(__file__).parents[1] / "configs" / "cifar10"
SMALL = ("--trainer.accelerator=cpu", "--data.batch_size=16", "--data.split.val=40", "--evaluation.k=5")


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DML_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    np.savez("images.npz", images=rng.integers(0, 256, (100, 32, 32, 3), np.uint8), labels=np.arange(100) % 10)
    return "images.npz"


def test_softmax_and_the_encoder_run_a_batch(images):
    for name in ("softmax_pixels", "softmax_pixels_stated", "triplet_alexnet"):
        keys = ("--trainer.fast_dev_run=true", "--evaluation.baselines=false", *SMALL)
        assert main(["fit", "--config", str(FOLDER / f"{name}.yaml"), "--data.root", images, *keys]) == 0


def test_the_heads_stand_on_a_run_of_the_encoder(images):
    network = "--model.encoder.encoder"
    shape = (f"{network}.hidden_sizes=[16]", f"{network}.embedding_dim=8", "--trainer.precision=32-true")
    short = (
        "--trainer.max_epochs=1",
        "--trainer.check_val_every_n_epoch=1",
        "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
        *SMALL,
    )
    words = ["fit", "--config", str(FOLDER / "triplet_alexnet.yaml"), "--data.root", images, "--name", "B2"]
    assert main([*words, *shape, *short, "--evaluation.baselines=false"]) == 0
    for name in ("linear_head", "mlp_head", "fine_tuned"):
        words = ["fit", "--config", str(FOLDER / f"{name}.yaml"), "--data.root", images, "--name", name]
        assert main([*words, *short]) == 0
        left, right = (pretrained_encoder(run).state_dict() for run in ("B2", name))
        frozen = all((left[key] == right[key]).all() for key in left)
        assert frozen == (name != "fine_tuned")


def test_both_heads_differ_in_the_head_alone():
    recipes = [yaml.safe_load((FOLDER / f"{name}_head.yaml").read_text()) for name in ("linear", "mlp")]
    heads = [recipe["model"]["init_args"].pop("head")["class_path"] for recipe in recipes]
    assert heads == ["dml.heads.LinearHead", "dml.heads.MLPHead"]
    assert recipes[0] == recipes[1]
