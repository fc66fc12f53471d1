"""Takes the time of everything a training does, in a rehearsal of a few steps."""

from dataclasses import dataclass, field
from typing import Any, final

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dml.experiments.plan.estimate import clock

_NEVER = 1 << 62  # steps


@dataclass
class Epoch:
    """What an epoch took, in seconds.

    Attributes:
        steps: each from the end of the one before, or from the beginning of the epoch.
        logged: whether the step was one whose gradients and tuples are looked at for the curves.
        whole: from its beginning to the next one's, without its validation.
        validation: 0 where there was none.
    """

    steps: list[float] = field(default_factory=list)
    logged: list[bool] = field(default_factory=list)
    whole: float = 0.0
    validation: float = 0.0


@final
class Clock(Callback):
    """Measure each step, epoch and validation; stands behind all other callbacks.

    Every other step is one that is logged, whatever the recipe says: both kinds are to be known.
    """

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []
        self.labels: list[Tensor] = []  # of the batches
        self.began = self.ended = 0.0  # when training did
        self._epoch = self._step = self._validating = 0.0  # when they began

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin: data, baselines and all that stands before training is done."""
        self.began = clock(pl_module.device)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an epoch, and end the one before."""
        now = clock(pl_module.device)
        self._end_epoch(now)
        self.epochs.append(Epoch())
        self._epoch = self._step = now

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Choose whether this step is logged."""
        logged = (len(self.epochs) + batch_idx) % 2 == 1
        trainer.log_every_n_steps = 1 if logged else _NEVER  # type: ignore[attr-defined]
        self.epochs[-1].logged.append(logged)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the time of a step."""
        now = clock(pl_module.device)
        self.epochs[-1].steps.append(now - self._step)
        self._step = now
        if hasattr(batch, "labels"):
            self.labels.append(batch.labels.detach().cpu())

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a validation."""
        self._validating = clock(pl_module.device)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End it; one before training or after it belongs to no epoch."""
        if self.epochs and not self.ended:
            self.epochs[-1].validation = clock(pl_module.device) - self._validating

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End."""
        self.ended = clock(pl_module.device)
        self._end_epoch(self.ended)

    def _end_epoch(self, now: float) -> None:
        if self.epochs:
            self.epochs[-1].whole = now - self._epoch - self.epochs[-1].validation
