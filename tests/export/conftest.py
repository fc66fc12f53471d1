"""A run on images in a folder, and its artefact; both made once."""

import shutil

import numpy as np
import pytest
from PIL import Image

from dml.cli import main
from dml.data import Digits

KEYS = (
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
    "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
)


def _paint(folder, count):
    digits = Digits().open()
    for at in range(count):
        path = folder / digits.class_names[digits.labels[at]] / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(digits.reader(at), np.uint8)).save(path)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A folder with `photos`, the run `runs/first` of them, calibrated, and its artefact `artefact`."""
    for package in ("onnx", "onnxruntime", "safetensors"):
        pytest.importorskip(package, reason="the extra dml[onnx] is not installed")
    place = tmp_path_factory.mktemp("exported")
    _paint(place / "photos", 200)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("DML_CACHE", str(place / "cache"))
        encoder = ("--model.encoder.channels=[8,16]", "--model.encoder.embedding_dim=8", "--evaluation.metric=cosine")
        words = ("--data.root=photos", "--data.channels=3", *encoder)
        assert main(["fit", "--name", "first", *KEYS, *words]) == 0
        assert main(["calibrate", "first", "--fmr", "0.1", "--confidence", "0.5"]) == 0
        assert main(["export", "first", "--out", "artefact"]) == 0
    return place


@pytest.fixture
def place(exported, tmp_path, monkeypatch):
    """A copy of it as the current folder."""
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DML_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def dml(place, capfd):
    """Return a callable that runs `dml` there and gives exit code, standard output and standard error."""

    def run(*words):
        capfd.readouterr()
        code = main([str(word) for word in words])
        return code, *capfd.readouterr()

    return run
