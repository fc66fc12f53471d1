"""Builds the optimiser and the schedule of a module from what its recipe says."""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch.optim import Optimizer

from dml.errors import UserError
from dml.modules.param_groups import check_rates
from dml.schedules import WarmupDecay


def build_optimizer(optimizer: OptimizerCallable, learnt: list[Any]) -> Optimizer:
    """Return the optimiser of parameters, or of groups of them.

    Raises:
        UserError: It cannot be built from these.

    Example:
        >>> import torch
        >>> build_optimizer(lambda learnt: torch.optim.SGD(learnt, lr=-1.0), [torch.zeros(2)])
        Traceback (most recent call last):
        ...
        dml.errors.UserError: model.optimizer cannot be built: Invalid learning rate: -1.0
    """
    try:
        return optimizer(learnt)
    except (TypeError, ValueError) as error:
        mend = ": timm.optim.Muon learns all others by AdamW" if "2D parameters" in str(error) else ""
        raise UserError(f"model.optimizer cannot be built: {error}{mend}") from error


def build_schedule(schedule: LRSchedulerCallable, optimizer: Optimizer) -> Any:
    """Return the schedule of an optimiser.

    Args:
        schedule: Builds it from the optimiser.
        optimizer: Its groups may have rates of their own.

    Raises:
        UserError: It cannot be built, or sets one rate for groups that were to learn at different ones.
    """
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    try:
        built = schedule(optimizer)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"model.lr_scheduler cannot be built: {error}") from error
    check_rates(optimizer, rates)
    return built


def tell_length(trainer: Trainer) -> None:
    """Tell schedules that need to know how long training is.

    Args:
        trainer: In `on_train_start`: asked for its steps earlier, it would build the loader before a resumed run's
            place in the data is restored, and start the epoch again.

    Raises:
        UserError: The trainer does not know either.
    """
    for config in trainer.lr_scheduler_configs:
        if isinstance(config.scheduler, WarmupDecay):
            by_step = config.interval == "step"
            config.scheduler.set_length(_length(trainer, by_step), in_epochs=not by_step)


def _length(trainer: Trainer, by_step: bool) -> int:
    length = trainer.estimated_stepping_batches if by_step else trainer.max_epochs
    if length is None or not 0 < length < float("inf"):
        other = "or trainer.max_steps" if by_step else "or model.lr_interval to step"
        raise UserError(f"model.lr_scheduler must know how long training is: set trainer.max_epochs {other}")
    return int(length)
