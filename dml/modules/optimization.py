"""What the LightningModules share about optimisers and checkpoints; it knows nothing of losses or data."""

from collections.abc import Mapping
from typing import Any, Literal

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from torch import Tensor, nn

from dml.errors import UserError

Interval = Literal["epoch", "step"]


def optimizers(
    parameters: list[nn.Parameter],
    optimizer: OptimizerCallable,
    lr_scheduler: LRSchedulerCallable | None,
    interval: Interval,
) -> Any:
    """Return what Lightning's `configure_optimizers` wants: the optimiser and, where there is one, its schedule.

    Args:
        parameters: What is learnt; with none, there is nothing to optimise and None is returned.
        optimizer: Builds the optimiser from parameters.
        lr_scheduler: Builds the schedule from the optimiser.
        interval: Whether the schedule moves after every epoch or every step.

    Example:
        >>> import torch
        >>> optimizers([], torch.optim.SGD, None, "epoch") is None
        True
    """
    if not parameters:
        return None
    built = optimizer(parameters)
    if lr_scheduler is None:
        return built
    schedule = lr_scheduler(built)
    config: dict[str, Any] = {"scheduler": schedule, "interval": interval}
    if isinstance(schedule, ReduceLROnPlateau):
        config["monitor"] = schedule.monitor
    return {"optimizer": built, "lr_scheduler": config}


def check_fits(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Refuse a checkpoint whose weights are not this network's, naming the first that differs.

    Args:
        network: The network about to be loaded.
        state: Weights by name, as a checkpoint holds them.

    Raises:
        UserError: A weight is missing, unknown, or of another shape.

    Example:
        >>> check_fits(nn.Linear(2, 3), nn.Linear(2, 4).state_dict())
        Traceback (most recent call last):
        ...
        dml.errors.UserError: the checkpoint is of another model: weight is (4, 2) there and (3, 2) here
    """
    own = network.state_dict()
    for name in [*own, *(name for name in state if name not in own)]:
        here, there = (_shape(weights, name) for weights in (own, state))
        if here != there:
            raise UserError(f"the checkpoint is of another model: {name} is {there} there and {here} here")


def _shape(weights: Mapping[str, Tensor], name: str) -> str:
    return str(tuple(weights[name].shape)) if name in weights else "absent"
