"""Runs of the front door, small enough for every test."""

import pytest

from dml.cli import main


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


SMALL = (
    "--trainer.max_epochs=2",
    "--trainer.accelerator=cpu",
    "--model.encoder.channels=[8,16]",
    "--model.encoder.dropout=0.3",
    "--pictures.projection=pca",
    "--pictures.max_points=40",
    "--pictures.gallery_queries=2",
)


@pytest.fixture
def small():
    """Return the keys of a recipe that trains within a second or two."""
    return SMALL
