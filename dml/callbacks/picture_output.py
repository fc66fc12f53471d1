"""Where pictures go: the run's folder and TensorBoard; one that cannot be drawn is reported and never ends a run."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from dml import reports, runs
from dml.callbacks.run_folder import RunFolder

_log = logging.getLogger(__name__)


@contextmanager
def drawing(picture: str) -> Iterator[None]:
    """Draw one picture; if that fails, log why in one line and carry on.

    Args:
        picture: What is drawn, for the line.

    Example:
        >>> with drawing("gallery"):
        ...     raise ValueError("no images")
    """
    try:
        yield
    except Exception as error:  # whatever a library says of a name or a number: scores and weights are worth more
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        _log.warning("dml: the picture %r is left out: %s", picture, reason)
        _log.debug("the picture %r", picture, exc_info=True)


def show(trainer: Trainer, name: str, figure: Figure) -> None:
    """Write a figure to the run's pictures and to TensorBoard, if they exist.

    Args:
        trainer: The trainer of the run.
        name: The picture's name, without a suffix.
        figure: The picture.
    """
    pixels = reports.pixels(figure)
    run = run_of(trainer)
    if run is not None:
        runs.write_bytes(run / runs.PICTURES / f"{name}.png", reports.png(pixels))
    for writer in writers(trainer):
        writer.add_image(name, pixels, trainer.global_step, dataformats="HWC")


def run_of(trainer: Trainer) -> Path | None:
    """Return the folder of the run that is being trained, None if none is written.

    Example:
        >>> run_of(Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False))
    """
    return next((c.run for c in trainer.callbacks if isinstance(c, RunFolder)), None)  # type: ignore[attr-defined]


def writers(trainer: Trainer) -> list[SummaryWriter]:
    """Return the writers of the trainer's TensorBoard loggers.

    Example:
        >>> writers(Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False))
        []
    """
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
