"""What makes a checkpoint resumable: a moment when nothing is pending, and curves that reach the disk before it."""

from pathlib import Path

from lightning.pytorch import Trainer

from dml.errors import LostTrainingError
from dml.functional.finite import all_finite


def is_resumable(trainer: Trainer) -> bool:
    """Tell whether a checkpoint after the current batch would leave nothing out.

    It would leave something out if gradients of several batches are being summed up, or if the epoch ends or a
    validation follows: Lightning resumes after both.

    Args:
        trainer: One that trains, in `on_train_batch_end`.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> is_resumable(Trainer(logger=False, accelerator="cpu", enable_progress_bar=False))
        False
    """
    loop = trainer.fit_loop.epoch_loop
    fetcher = trainer.fit_loop._data_fetcher
    if fetcher is None or loop._should_accumulate() or loop._is_training_done:
        return False
    return not loop._should_check_val_fx(fetcher)


def save_resumable(trainer: Trainer, checkpoint: Path, epoch_ended: bool = False) -> None:
    """Save a checkpoint after the curves: Lightning logs what a step or an epoch measured after its callbacks.

    Args:
        trainer: One that trains, in `on_train_batch_end` where `is_resumable`, or in `on_train_epoch_end`.
        checkpoint: The file.
        epoch_ended: Whether an epoch has ended, not only a step.
    """
    connector = trainer._logger_connector
    if epoch_ended:
        connector.log_metrics(connector.metrics["log"], step=trainer.fit_loop.epoch_loop._batches_that_stepped - 1)
    else:
        connector.update_train_step_metrics()
    flush_curves(trainer)
    check_weights(trainer)
    trainer.save_checkpoint(checkpoint)


def check_weights(trainer: Trainer) -> None:
    """End a training whose weights are not finite, so that its last good checkpoint stays.

    Raises:
        LostTrainingError: A weight is NaN or infinite.
    """
    if not all_finite(trainer.lightning_module.parameters()):
        raise LostTrainingError(
            f"training diverged before step {trainer.global_step}: weights are NaN or infinite; "
            "lower model.optimizer.lr, or set trainer.gradient_clip_val"
        )


def flush_curves(trainer: Trainer) -> None:
    """Write to disk what loggers hold back: if training were killed, it would be lost and never logged again."""
    for logger in trainer.loggers:
        logger.save()
