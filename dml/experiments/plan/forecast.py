"""What a whole training comes to, from a rehearsal of a few of its steps."""

import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from dml.experiments.plan.clock import Epoch

_COLD = 2  # first steps, which allocate and compile
_DENSE = 20  # first steps that are all logged, and points of a curve at least


@final
@dataclass(frozen=True)
class Schedule:
    """How long a training is, as its recipe has it.

    Args:
        epochs: of training, the last of which may not be whole.
        steps: of an epoch.
        total: steps in all.
        validations: while training.
        log_every: steps between two that are logged, at most; 0: none is.

    Example:
        >>> schedule = Schedule.of(30, -1, 20, every=4, interval=0.5, log_every=10)
        >>> schedule, schedule.logged
        (Schedule(epochs=30, steps=20, total=600, validations=14, log_every=10), 78)
        >>> Schedule.of(None, 50, 20, every=1, interval=1.0, log_every=0)
        Schedule(epochs=3, steps=20, total=50, validations=2, log_every=0)
    """

    epochs: int
    steps: int
    total: int
    validations: int
    log_every: int

    @classmethod
    def of(
        cls,
        max_epochs: int | None,
        max_steps: int,
        steps: int,
        every: int | None,
        interval: float | int,
        log_every: int,
    ) -> "Schedule":
        """Read the keys of a trainer: what ends it first counts.

        Args:
            max_epochs: None or below 0: no end.
            max_steps: 0 or below: no end.
            steps: of an epoch.
            every: epochs between two validations; None: they follow steps alone.
            interval: a share of an epoch, or a number of steps, between two validations.
            log_every: steps.
        """
        by_epochs = max_epochs * steps if max_epochs is not None and max_epochs > 0 else sys.maxsize
        total = min(by_epochs, max_steps if max_steps > 0 else sys.maxsize)
        whole = total // max(1, steps)  # epochs
        if every is None:
            validations = total // int(interval)
        else:
            each = steps // interval if isinstance(interval, int) else int(1 / interval)
            validations = whole // every * max(1, each)
        return cls(math.ceil(total / max(1, steps)), steps, total, validations, log_every)

    @property
    def logged(self) -> int:
        """Steps that are logged: the first 20, then at least 20 in all, as `TrainingWatch` has it."""
        if self.log_every <= 0:
            return 0
        every = min(self.log_every, max(1, self.total // _DENSE))
        return min(self.total, _DENSE) + max(0, self.total - _DENSE) // every


@final
@dataclass(frozen=True)
class Forecast:
    """What the parts of a training take, in seconds.

    Args:
        step: an optimiser step once all is warm, most of which are not logged.
        logging: what a logged step takes beyond that.
        epoch: an epoch beyond its steps: its loader, its last checkpoint.
        warming: what the first steps and the first validation take beyond later ones.
        validation: of the held-back images.
    """

    step: float
    logging: float
    epoch: float
    warming: float
    validation: float

    @classmethod
    def of(cls, epochs: Sequence[Epoch]) -> "Forecast":
        """Sum a rehearsal up; where the first step of an epoch is not its only one, later ones tell of steps.

        Example:
            >>> first = Epoch([0.5, 0.3], [True, False], whole=1.0, validation=0.3)
            >>> later = Epoch([0.1, 0.2, 0.1], [False, True, False], whole=0.5, validation=0.2)
            >>> found = Forecast.of([first, later])
            >>> [round(each, 6) for each in (found.step, found.logging, found.epoch, found.warming, found.validation)]
            [0.1, 0.1, 0.1, 0.7, 0.2]
        """
        step, logging = _step_and_logging(epochs)
        beyond = [epoch.whole - len(epoch.steps) * step - sum(epoch.logged) * logging for epoch in epochs[1:] or epochs]
        validations = [epoch.validation for epoch in epochs if epoch.validation]
        later = statistics.median(validations[1:] or validations or [0.0])
        warming = _warming(epochs, step) + (max(0.0, validations[0] - later) if validations else 0.0)
        return cls(step, logging, max(0.0, statistics.median(beyond)), warming, later)

    def training(self, schedule: Schedule, processes: int = 1) -> float:
        """Return the seconds of a training, from its first step to its end; processes share its validations."""
        steps = schedule.total * self.step + schedule.logged * self.logging
        evaluations = schedule.validations * self.validation / processes
        return steps + schedule.epochs * self.epoch + evaluations + self.warming


def _step_and_logging(epochs: Sequence[Epoch]) -> tuple[float, float]:
    """Return the seconds of a step, and those of logging it."""
    timed = [
        (seconds, logged, at)
        for epoch in epochs
        for at, (seconds, logged) in enumerate(zip(epoch.steps, epoch.logged, strict=True))
    ]
    warm = timed[_COLD:] or timed
    warm = [each for each in warm if each[2]] or warm
    plain = [seconds for seconds, logged, _ in warm if not logged]
    dense = [seconds for seconds, logged, _ in warm if logged]
    step = statistics.median(plain or dense)
    return step, max(0.0, statistics.median(dense) - step) if plain and dense else 0.0


def _warming(epochs: Sequence[Epoch], step: float) -> float:
    """Return the seconds that the first epoch's first steps took beyond those of later ones."""
    first = statistics.median([epoch.steps[0] for epoch in epochs[1:]] or [step])
    usual = [first, *[step] * (_COLD - 1)]
    return sum(max(0.0, seconds - each) for seconds, each in zip(epochs[0].steps, usual, strict=False))
