"""Checks settings of a parsed recipe that Lightning accepts silently, or refuses only after some seconds."""

from typing import Any

from dml.errors import UserError
from dml.ranges import check_number

_SEEDS = 2**32  # what numpy's generators take
_PRECISIONS = {"32", "32-true", "16", "16-mixed", "bf16", "bf16-mixed"}


def check_settings(config: Any) -> None:
    """Refuse a seed, or an argument of the trainer, that makes no sense.

    Args:
        config: The parsed recipe, nothing of it built yet.

    Raises:
        UserError: The key, what is wrong with it, and how to fix it.
    """
    seed = config.seed_everything
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < _SEEDS:
        raise UserError(f"seed_everything={seed}: give a whole number within 0..{_SEEDS - 1}")
    trainer = config.trainer
    precision = str(trainer.precision or "32")
    if precision not in _PRECISIONS:
        raise UserError(f"trainer.precision={precision}: choose 32-true, bf16-mixed or 16-mixed")
    for key in ("gradient_clip_val", "log_every_n_steps"):
        if getattr(trainer, key) is not None:
            check_number(f"trainer.{key}", getattr(trainer, key), least=0)
    for key in ("accumulate_grad_batches", "check_val_every_n_epoch"):
        if getattr(trainer, key) is not None:
            check_number(f"trainer.{key}", getattr(trainer, key), least=1)
    interval = trainer.val_check_interval
    if isinstance(interval, int | float):
        check_number("trainer.val_check_interval", interval, above=0)
    check_number("trainer.num_sanity_val_steps", trainer.num_sanity_val_steps or 0, least=-1)
    _check_optimizer(config)
    _check_schedule(config)
    endless = trainer.max_epochs == -1 and trainer.max_steps == -1 and not trainer.max_time and not trainer.callbacks
    if endless:
        raise UserError("trainer.max_epochs=-1 trains forever: give trainer.max_steps or trainer.max_time too")


def _check_optimizer(config: Any) -> None:
    """Refuse rates that are not finite: torch only compares them with 0."""
    optimizer = config.get("model.init_args.optimizer")
    arguments = None if optimizer is None or not hasattr(optimizer, "init_args") else optimizer.init_args
    for key in ("lr", "weight_decay", "momentum", "eps"):
        value = None if arguments is None else arguments.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            check_number(f"model.optimizer.{key}", value, least=0)


def _check_schedule(config: Any) -> None:
    """Refuse torch's ReduceLROnPlateau, which does not know which score to look at."""
    schedule = config.get("model.init_args.lr_scheduler")
    path = "" if schedule is None or not hasattr(schedule, "class_path") else str(schedule.class_path)
    if path.endswith("ReduceLROnPlateau") and path.startswith("torch."):
        own = "--model.lr_scheduler lightning.pytorch.cli.ReduceLROnPlateau --model.lr_scheduler.monitor val/loss"
        raise UserError(f"model.lr_scheduler: {path} does not know which score to look at: give {own}")
