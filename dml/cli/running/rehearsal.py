"""A rehearsal of a training: a few steps, two validations, and all that stands before and behind training."""

import itertools
import time
from typing import Any, NamedTuple

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LambdaCallback

from dml.cli.trainer import TrainerCLI
from dml.experiments.plan import Clock, Schedule, forward_seconds

_LEAST, _MOST = 5, 50  # steps of an epoch that are run: two of all get warm
_EPOCHS = 10  # before a validation, at most
_LONG = 1.0  # second of steps, after which they are enough
_SHORT, _PATIENCE = 5.0, 30.0  # seconds of one evaluation: three are rehearsed; two, and no others than while training


class Rehearsal(NamedTuple):
    """What a rehearsal showed: its steps, and the seconds that a training takes before its first and after its last."""

    clock: Clock
    before: float
    after: float


class _Enough(Exception):  # noqa: N818
    """All that was to be measured has been."""


def schedule_of(trainer: Trainer, batches: int) -> Schedule:
    """Return how long a training is.

    Args:
        trainer: Of the recipe.
        batches: Of an epoch.
    """
    steps, max_steps = (
        limited(batches, trainer.limit_train_batches),
        trainer.max_steps * trainer.accumulate_grad_batches,
    )
    every, interval = trainer.check_val_every_n_epoch, trainer.val_check_interval
    log_every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return Schedule.of(trainer.fit_loop.max_epochs, max_steps, steps, every, interval, log_every)


def limited(batches: int, limit: int | float | None) -> int:
    """Return how many of the batches are seen.

    Example:
        >>> limited(20, None), limited(20, 5), limited(20, 0.5)
        (20, 5, 10)
    """
    if limit is None:
        return batches
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def rehearse(cli: TrainerCLI, schedule: Schedule, step: float) -> Rehearsal:
    """Train for a few steps and validate two or three times, with all that `dml fit` does before and after training.

    Where an evaluation takes long, the baselines and the best checkpoint's are not rehearsed but taken to be as long
    as one while training.

    Args:
        cli: With a run folder, which it fills.
        schedule: Of the whole training.
        step: Seconds that a step should take.
    """
    clock, compared = Clock(), cli.evaluation.with_baselines
    expected = _evaluation_seconds(cli)
    brief = expected > _PATIENCE
    cli.evaluation.with_baselines = compared and not brief
    _shorten(cli.trainer, schedule.steps, step, validations=3 if expected < _SHORT and step < _LONG else 2)
    cli.trainer.callbacks += [clock, *([LambdaCallback(on_train_end=_stop)] if brief else [])]  # type: ignore[attr-defined]
    began = time.perf_counter()
    try:
        if not cli.fit(None):
            raise KeyboardInterrupt
    except _Enough:
        one = clock.epochs[-1].validation
        return Rehearsal(clock, clock.began - began + 2 * compared * one, one)
    return Rehearsal(clock, clock.began - began, time.perf_counter() - clock.ended)


def _stop(*_: Any) -> None:
    raise _Enough


def _shorten(trainer: Trainer, steps: int, step: float, validations: int) -> None:
    """Have a trainer validate a few times, each after as many epochs as it needs for about 20 steps."""
    enough = _LONG / max(step, 1e-6)  # steps
    some = min(steps, max(_LEAST, min(_MOST, int(enough))))
    epochs = max(1, min(_EPOCHS, 20 // max(1, some), int(enough / max(1, some))))
    trainer.limit_train_batches = some
    trainer.fit_loop.max_epochs = validations * epochs
    trainer.fit_loop.epoch_loop.max_steps = -1
    trainer.check_val_every_n_epoch = epochs
    trainer.val_check_interval = 1.0


def _evaluation_seconds(cli: TrainerCLI) -> float:
    """Return about how long the images of a validation take, by the first batches of each loader."""
    total = 0.0
    loaders: Any = cli.datamodule.val_dataloader()
    for loader in loaders:
        began = time.perf_counter()
        batches = list(itertools.islice(loader, 4))
        seen = (time.perf_counter() - began) / max(1, len(batches))
        device, precision = cli.trainer.strategy.root_device, cli.trainer.precision_plugin
        seen += forward_seconds(cli.model.encoder, batches[0].images, device, precision, learning=False)
        total += seen * limited(len(loader), cli.trainer.limit_val_batches)
    return total
