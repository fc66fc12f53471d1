"""Lightning's finders of a learning rate and a batch size within a run: refused or removed where they cannot work."""

from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder

from dml.errors import UserError


def check_finders(trainer: Trainer, data: LightningDataModule) -> None:
    """Refuse a search for a batch size that begins with one that class-balanced batches cannot have.

    Args:
        trainer: With all its callbacks.
        data: Its datamodule.

    Raises:
        UserError: The first size is not a multiple of the classes in a batch, or leaves one image of each.

    Example:
        >>> from dml.data import ImageData
        >>> trainer = Trainer(logger=False, accelerator="cpu", callbacks=[BatchSizeFinder()], enable_progress_bar=False)
        >>> check_finders(trainer, ImageData(classes_per_batch=10))
        Traceback (most recent call last):
        ...
        dml.errors.UserError: BatchSizeFinder.init_val=2: batches of 10 classes need a multiple of 10, at least 20: ...
    """
    classes = getattr(data, "classes_per_batch", None)
    for finder in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(finder, BatchSizeFinder) and isinstance(classes, int):
            first = finder._init_val
            if first % classes or first < 2 * classes:
                told = f"batches of {classes} classes need a multiple of {classes}, at least {2 * classes}"
                raise UserError(f"BatchSizeFinder.init_val={first}: {told}: give --trainer.callbacks.init_val")


def drop_finders(trainer: Trainer) -> None:
    """Remove batch-size finders from a trainer that only scores: they cannot handle queries and references together.

    Args:
        trainer: Its list of callbacks is changed.

    Example:
        >>> trainer = Trainer(logger=False, accelerator="cpu", callbacks=[BatchSizeFinder()], enable_progress_bar=False)
        >>> drop_finders(trainer)
        >>> any(isinstance(callback, BatchSizeFinder) for callback in trainer.callbacks)
        False
    """
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    callbacks[:] = [callback for callback in callbacks if not isinstance(callback, BatchSizeFinder)]
