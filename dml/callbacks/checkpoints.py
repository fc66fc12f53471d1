"""The two checkpoints of a run: the best by validation, to use, and the last, to go on from."""

import os
from pathlib import Path
from typing import Any, Literal, final

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from dml import runs


@final
class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it: a kill at any moment leaves the old file or the new one.

    Lightning's own writes to the temporary folder and moves the file, which copies it where that is another disk.

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
    """Make a rename last through a power failure, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@final
class RunCheckpoint(ModelCheckpoint):
    """A checkpoint callback that replaces files atomically, and finds them in the run folder wherever that was moved.

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

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best score so far; its file lies in this run's folder, under the name it had."""
        folder = str(self.dirpath)
        moved = {str(Path(folder) / Path(path).name): score for path, score in state_dict["best_k_models"].items()}
        paths = {
            key: str(Path(folder) / Path(state_dict[key]).name) if state_dict[key] else ""
            for key in ("best_model_path", "kth_best_model_path", "last_model_path")
        }
        super().load_state_dict({**state_dict, **paths, "dirpath": folder, "best_k_models": moved})


def run_checkpoints(run: Path, monitor: str | None, mode: Literal["min", "max"]) -> list[ModelCheckpoint]:
    """Return the callbacks that keep `checkpoints/best.ckpt` and, at the end of every epoch, `checkpoints/last.ckpt`.

    Args:
        run: The run folder.
        monitor: The logged score the best is chosen by, e.g. `val/map_at_r`; None takes the last validated.
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
