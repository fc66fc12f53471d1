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
        UserError: It cannot be built of these.

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


def build_schedule(schedule: LRSchedulerCallable, optimizer: Optimizer, trainer: Trainer, by_step: bool) -> Any:
    """Return the schedule of an optimiser, told how long training is where it asks.

    Args:
        schedule: Builds it from the optimiser.
        optimizer: Its groups may have rates of their own.
        trainer: About to fit.
        by_step: Whether the schedule moves after every step; otherwise after every epoch.

    Raises:
        UserError: It cannot be built, sets one rate for groups that were to learn at different ones, or must know how
            long training is where the trainer does not.
    """
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    try:
        built = schedule(optimizer)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"model.lr_scheduler cannot be built: {error}") from error
    if isinstance(built, WarmupDecay):
        built.set_length(_length(trainer, by_step))
    check_rates(optimizer, rates)
    return built


def _length(trainer: Trainer, by_step: bool) -> int:
    length = trainer.estimated_stepping_batches if by_step else trainer.max_epochs
    if length is None or not 0 < length < float("inf"):
        other = "or trainer.max_steps" if by_step else "or model.lr_interval to step"
        raise UserError(f"model.lr_scheduler must know how long training is: set trainer.max_epochs {other}")
    return int(length)
