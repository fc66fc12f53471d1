"""Runs of the front door, small enough for every test."""

import shutil

import numpy as np
import pytest
from PIL import Image

from dml.cli import main
from dml.data import Digits


@pytest.fixture
def dml(tmp_path, monkeypatch, capfd):
    """Return a callable that runs `dml` in an empty folder and gives exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DML_CACHE", str(tmp_path / "cache"))

    def run(*words):
        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        return code, out, err

    return run


PLAIN = "--pictures={projection: none, max_points: 40, gallery_queries: 1, gallery_neighbors: 1}"
SMALL = (
    "--trainer.max_epochs=2",
    "--trainer.accelerator=cpu",
    "--model.encoder.channels=[8,16]",
    "--model.encoder.dropout=0.3",
)


@pytest.fixture
def small():
    """Return the keys of a recipe that trains within a second; drawing would take as long."""
    return (*SMALL, PLAIN)


@pytest.fixture
def pictured():
    """Return the keys of the same recipe with its pictures."""
    return (*SMALL, "--pictures={projection: pca, max_points: 40, gallery_queries: 2}")


KEYS = ("--trainer.accelerator=cpu", "--model.encoder.channels=[8,16]", PLAIN)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with two runs of one epoch, of different weights, and 40 digits as images in class folders."""
    folder = tmp_path_factory.mktemp("trained")
    for name, more in (("first", ()), ("second", ("--evaluation.metric=cosine", "--seed_everything=1"))):
        words = ("fit", "--name", name, "--runs_dir", str(folder / "runs"), "--trainer.max_epochs=1", *KEYS, *more)
        assert main(words) == 0
    digits = Digits().open()
    for at in range(40):
        path = folder / "digits" / digits.class_names[digits.labels[at]] / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(digits.reader(at), np.uint8)).save(path)
    return folder


@pytest.fixture
def place(dml, trained, tmp_path):
    """The same, as a copy in the current folder."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return dml
