"""The two checkpoints of a run: the best by validation, to use, and the last, to go on from."""

from pathlib import Path
from typing import Literal

from lightning.pytorch.callbacks import ModelCheckpoint

from dml import runs


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
    best = ModelCheckpoint(
        folder,
        filename="best",
        monitor=monitor,
        mode=mode,
        enable_version_counter=False,
        save_on_train_epoch_end=False,
    )
    other = "max" if mode == "min" else "min"  # Lightning tells the two states apart by it where nothing is monitored
    last = ModelCheckpoint(
        folder, filename="last", mode=other, enable_version_counter=False, save_on_train_epoch_end=True
    )
    return [best, last]
