"""The recipes of the classical studies: each trains for a step on what it is for, or on a stand-in of its shape."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dml.cli import main

CONFIGS = Path(__file__).parent.parent / "configs"
QUICK = ("--trainer.fast_dev_run=true", "--trainer.accelerator=cpu")


@pytest.mark.parametrize("file", ["digits/softmax.yaml", "points/linear_svm.yaml"])
def test_recipes_on_their_own_data(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", str(CONFIGS / file), *QUICK]) == 0


def test_softmax_regression_on_images_keeps_their_mean_with_the_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DML_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (120, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(120) % 10)
    share = ("--data.labelled_per_class=null", "--data.labelled_share=0.8")
    smaller = (*share, "--data.split.val=20", "--data.split.test=20", "--trainer.max_epochs=1")
    words = [
        "--data.root=images.npz",
        *smaller,
        "--trainer.check_val_every_n_epoch=1",
        "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
    ]
    recipe = str(CONFIGS / "cifar10" / "softmax.yaml")
    assert main(["fit", "--config", recipe, *words, "--trainer.accelerator=cpu", "--evaluation.k=5", "--name=one"]) == 0
    weights = torch.load(tmp_path / "runs" / "one" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert weights["encoder.mean"].shape == (3072,)
    assert weights["encoder.mean"].mean().item() == pytest.approx(0.5, abs=0.02)
    assert main(["test", "--run", "one"]) == 0
