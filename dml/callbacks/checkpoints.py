"""The two checkpoints of a run: the best by validation, to use, and the last, to resume from."""

import os
import time
from pathlib import Path
from typing import Any, Literal, final

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from dml import runs
from dml.callbacks.resumable import check_weights, flush_curves, is_resumable, save_resumable
from dml.errors import UserError


@final
class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint next to its place and renames it: a kill at any moment leaves the old file or the new one.

    Lightning's own writes to the temporary folder and moves the file, which is a copy if that is another disk.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "last.ckpt"
        >>> AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
        >>> torch.load(path), [file.name for file in path.parent.iterdir()]
        ({'epoch': 1}, ['last.ckpt'])
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write, flush to the disk, rename."""
        if "://" in str(path):  # no file of this machine
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)  # noqa: PTH105
        except Exception:
            temporary.unlink(missing_ok=True)
            raise
        _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make a rename survive a power failure, if the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@final
class RunCheckpoint(ModelCheckpoint):
    """A checkpoint callback that replaces files atomically, and finds them even if the run folder was moved.

    Example:
        >>> RunCheckpoint("runs/moved", filename="best").filename
        'best'
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have checkpoints written atomically, unless a plugin writes them, and remove what a killed writer left."""
        super().setup(trainer, pl_module, stage)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        if stage == "fit" and trainer.is_global_zero:
            Path(str(self.dirpath), f".{self.filename}.ckpt.tmp").unlink(missing_ok=True)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Flush to disk what the previous epoch logged after its checkpoint."""
        flush_curves(trainer)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        flush_curves(trainer)
        check_weights(trainer)
        super()._save_checkpoint(trainer, filepath)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score so far; its file is in this run's folder, under the same name."""
        folder = str(self.dirpath)
        moved = {str(Path(folder) / Path(path).name): score for path, score in state_dict["best_k_models"].items()}
        paths = {
            key: str(Path(folder) / Path(state_dict[key]).name) if state_dict[key] else ""
            for key in ("best_model_path", "kth_best_model_path", "last_model_path")
        }
        super().load_state_dict({**state_dict, **paths, "dirpath": folder, "best_k_models": moved})


@final
class PeriodicCheckpoint(Checkpoint):
    """Write a checkpoint within epochs too, after so many steps or minutes, whichever comes first.

    Args:
        checkpoint: The file that is written.
        every_n_steps: Optimiser steps, at least 1; None: none.
        every_minutes: Minutes, above 0; None: none.

    Raises:
        UserError: A number is not above 0.

    Example:
        >>> PeriodicCheckpoint(Path("runs/first/checkpoints/last.ckpt"), every_n_steps=0)
        Traceback (most recent call last):
        ...
        dml.errors.UserError: checkpoint.every_n_steps is 0: give a number above 0, or leave it out
    """

    def __init__(self, checkpoint: Path, every_n_steps: int | None = None, every_minutes: float | None = None) -> None:
        for key, value in (("every_n_steps", every_n_steps), ("every_minutes", every_minutes)):
            if value is not None and not value > 0:
                raise UserError(f"checkpoint.{key} is {value}: give a number above 0, or leave it out")
        self.checkpoint = checkpoint
        self.every_n_steps = every_n_steps
        self.every_minutes = every_minutes
        self._saved = (0, 0.0)  # step and time

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting."""
        self._saved = trainer.global_step, time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is due; after a batch that training cannot resume from exactly, wait for the next."""
        if is_resumable(trainer) and self._is_due(trainer):
            save_resumable(trainer, self.checkpoint)
            self._saved = trainer.global_step, time.monotonic()

    def _is_due(self, trainer: Trainer) -> bool:
        step, moment = self._saved
        if self.every_n_steps is not None and trainer.global_step - step >= self.every_n_steps:
            return True
        if self.every_minutes is None:
            return False
        late = time.monotonic() - moment >= 60 * self.every_minutes
        return trainer.strategy.reduce_boolean_decision(late, all=False)  # all processes save together


def run_checkpoints(run: Path, monitor: str | None, mode: Literal["min", "max"]) -> list[ModelCheckpoint]:
    """Return the callbacks that keep `checkpoints/best.ckpt` and, at the end of every epoch, `checkpoints/last.ckpt`.

    Args:
        run: The run folder.
        monitor: The logged score the best is chosen by, e.g. `val/map_at_r`; None: the last validated.
        mode: Whether more (`max`) or less (`min`) of it is better.

    Example:
        >>> best, last = run_checkpoints(Path("runs/first"), "val/loss", "min")
        >>> best.monitor, last.monitor
        ('val/loss', None)
    """
    folder = run / runs.CHECKPOINTS
    best = RunCheckpoint(
        folder,
        filename="best",
        monitor=monitor,
        mode=mode,
        enable_version_counter=False,
        save_on_train_epoch_end=False,
    )
    other = "max" if mode == "min" else "min"  # Lightning tells the two states apart by it where nothing is monitored
    last = RunCheckpoint(
        folder, filename="last", mode=other, enable_version_counter=False, save_on_train_epoch_end=True
    )
    return [best, last]
