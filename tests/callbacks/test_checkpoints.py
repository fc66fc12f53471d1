"""Checkpoints are replaced whole: a kill at any moment of the writing leaves the old file."""

import os
import signal
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from dml.callbacks import run_checkpoints
from dml.callbacks.checkpoints import AtomicCheckpointIO


def _die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def _killed_at(moment, path):
    setattr(os, moment, _die)
    AtomicCheckpointIO().save_checkpoint({"epoch": 2, "weights": torch.zeros(100_000)}, path)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_killed_while_writing_the_old_checkpoint_stays_whole(tmp_path, in_process, moment):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    assert in_process(_killed_at, moment, path) == -signal.SIGKILL
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert {file.name for file in tmp_path.iterdir()} == {"last.ckpt", ".last.ckpt.tmp"}


def test_it_is_written_beside_its_place_never_to_the_temporary_folder(tmp_path, monkeypatch):
    moves = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (moves.append((Path(old), Path(new))), replace(old, new)))
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, tmp_path / "last.ckpt")
    assert moves == [(tmp_path / ".last.ckpt.tmp", tmp_path / "last.ckpt")]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def _trainer(**more):
    return Trainer(
        logger=False, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, barebones=False, **more
    )


def test_the_next_start_removes_what_a_killed_writer_left(tmp_path):
    left = tmp_path / "checkpoints" / ".last.ckpt.tmp"
    left.parent.mkdir()
    left.write_bytes(b"half")
    best, last = run_checkpoints(tmp_path, None, "max")
    trainer = _trainer(callbacks=[best, last])
    for callback in (best, last):
        callback.setup(trainer, None, "fit")
    assert not left.exists()
    assert isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO)


def test_a_plugin_that_writes_checkpoints_is_kept(tmp_path):
    class Own(TorchCheckpointIO):
        """Another way to write."""

    best, last = run_checkpoints(tmp_path, None, "max")
    trainer = _trainer(callbacks=[best, last], plugins=[Own()])
    last.setup(trainer, None, "fit")
    assert type(trainer.strategy.checkpoint_io) is Own
