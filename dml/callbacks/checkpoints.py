"""The two checkpoints of a run: the best by validation, to use, and the last, to go on from."""

from pathlib import Path
from typing import Any, Literal, final

from lightning.pytorch.callbacks import ModelCheckpoint

from dml import runs


@final
class RunCheckpoint(ModelCheckpoint):
    """A checkpoint callback that looks for its files in the run folder, wherever that was moved since.

    Example:
        >>> RunCheckpoint("runs/moved", filename="best").filename
        'best'
    """

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
