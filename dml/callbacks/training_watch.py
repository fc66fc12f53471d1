"""Watches training for what makes it worthless: numbers that are not finite, divergence, collapse to one point."""

import math
from typing import Any, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from dml.callbacks.evaluation import KNNEvaluation
from dml.errors import LostTrainingError
from dml.functional.collapse import dead_dimensions, effective_rank, spread
from dml.functional.finite import all_finite
from dml.modules import EmbeddingModule

_DIVERGED, _HOPELESS = 1e4, 1e8  # times the loss at the start
_LARGEST = torch.finfo(torch.float32).max
_POINTS = 20  # of each curve at least, where the training has as many steps
_LONG, _WANTED = 3, 0.02  # validations in a row; of the loss at the start
_MENDS = "lower model.optimizer.lr, or set trainer.gradient_clip_val"


@final
class TrainingWatch(Callback):
    """End training that has failed, and log early signs of it.

    Curves have at least 20 points: the first 20 steps are logged one by one, and further ones no more than a 20th of
    the training apart, where `log_every_n_steps` is larger.

    Logged with every validation: `val/spread`, `val/effective_rank` and `val/dead_dimensions` of its first batch; in
    training, of the batch, `train/grad_norm` (before clipping), `train/spread`, `train/active_tuples`, the share of
    pairs or triplets that cost something, and `train/loss_if_collapsed`, what the loss would be if all embeddings were
    their mean.

    Training has failed if gradients, weights or embeddings are not finite; if the validation loss is 10,000 times
    the loss it began with, while the embedding ranks worse than the untrained one (or 10⁸ times, however it ranks); or
    if the spread, in training or validation, has been below `threshold` for three validations in a row while the loss
    stays at its value at a collapse. A loss that is 0 at a collapse asks for one: when it has fallen to 2 % of where it
    began, a warning says so once, and training continues.

    Args:
        threshold: The share of the largest spread seen so far below which the embedding counts as collapsed, in (0, 1).

    Raises:
        LostTrainingError: Training has failed.

    Example:
        >>> TrainingWatch(threshold=0.05).largest
        {'train': 0.0, 'val': 0.0}
    """

    def __init__(self, threshold: float = 0.05) -> None:
        self.threshold = threshold
        self.largest = {"train": 0.0, "val": 0.0}
        self.began: float | None = None  # the loss of the first step
        self.collapsed = 0  # validations in a row
        self._first: tuple[float, float, int, int] | None = None  # of the first batch of queries
        self._told = False
        self._every = 0  # steps between two points of a curve; 0 logs none

    def state_dict(self) -> dict[str, Any]:
        """Return what was seen so far."""
        return {"largest": dict(self.largest), "began": self.began, "collapsed": self.collapsed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what was seen before the resume."""
        largest = state_dict["largest"]
        self.largest = dict(largest) if isinstance(largest, dict) else {"train": 0.0, "val": largest}  # of version 0.1
        self.began, self.collapsed = state_dict.get("began"), state_dict.get("collapsed", 0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose how often to log."""
        total = trainer.estimated_stepping_batches  # of an endless training infinite, or -1
        every = int(total) // _POINTS if 0 < total < math.inf else math.inf
        self._every = int(min(_interval(trainer), max(1, every)))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Log each of the first steps: training may end early."""
        if self._every:
            trainer.log_every_n_steps = 1 if trainer.global_step < _POINTS else self._every  # type: ignore[attr-defined]

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """Measure the gradient every `log_every_n_steps` steps, and end training if it is not finite."""
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None  # which skips such steps by itself
        if scaled or not _due(trainer, trainer.global_step + 1):
            return
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        if not math.isfinite(norm):
            raise LostTrainingError(
                f"training diverged at step {trainer.global_step}: the gradient is {norm}; {_MENDS}"
            )
        pl_module.log("train/grad_norm", norm)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the first loss; look at the batch's tuples every `log_every_n_steps` steps."""
        if self.began is None:
            self.began = float(outputs["loss"]) * trainer.accumulate_grad_batches  # Lightning has divided it
        if isinstance(pl_module, EmbeddingModule) and _due(trainer, trainer.global_step):
            for name, value in pl_module.measure_latest().items():
                pl_module.log(f"train/{name}", value)
                if name == "spread":
                    self.largest["train"] = max(self.largest["train"], value)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Measure the embeddings of the first batch of queries."""
        if batch_idx == 0 and dataloader_idx == 0 and all_finite([outputs]):
            embeddings = outputs.flatten(1).float()
            measured = spread(embeddings), effective_rank(embeddings), dead_dimensions(embeddings)
            self._first = *measured, len(outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what the first process measured, which has the first batch."""
        first = trainer.strategy.broadcast(self._first)
        self._first = None
        if first is None:
            return
        for name, value in zip(("spread", "effective_rank", "dead_dimensions"), first, strict=False):
            pl_module.log(f"val/{name}", float(value), batch_size=first[3])
        self.largest["val"] = max(self.largest["val"], first[0])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End training that has failed, before its checkpoint is written; warn of a collapse that was asked for."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self._check_divergence(trainer)
        self._check_collapse(trainer)

    def _check_collapse(self, trainer: Trainer) -> None:
        scores = {key: float(value) for key, value in trainer.callback_metrics.items()}
        spreads = {part: scores.get(f"{part}/spread", math.inf) for part in self.largest}
        small = [part for part, spread in spreads.items() if spread < self.threshold * self.largest[part]]
        loss, at_collapse = scores.get("train/loss", math.nan), scores.get("train/loss_if_collapsed", math.nan)
        self.collapsed = self.collapsed + 1 if small and at_collapse > 0 and loss >= 0.95 * at_collapse else 0
        wanted = at_collapse == 0 and self.began is not None and loss < _WANTED * self.began
        part = small[0] if small else "train"
        told = f"its {part} spread is {spreads[part]:.2g}, it was {self.largest[part]:.2g}"
        if self.collapsed >= _LONG:
            raise LostTrainingError(
                f"the embedding collapsed to one point: {told}, and the loss {loss:.3g} stays at its value there, "
                f"{at_collapse:.3g}; {_MENDS}, or choose another mining or `squared: false`"
            )
        if (wanted or self.collapsed or (small and math.isnan(at_collapse))) and not self._told:
            self._told = True
            cause = f", as its loss asks for ({loss:.2g} of {self.began:.2g} at the start)" if wanted else ""
            rank_zero_warn(
                f"the embedding collapses{cause}: {told}; "
                "a loss that also pushes classes apart (ContrastiveLoss, TripletLoss) prevents it"
            )

    def _check_divergence(self, trainer: Trainer) -> None:
        scores = trainer.callback_metrics
        if self.began is None or "val/loss" not in scores:
            return
        loss, usual = float(scores["val/loss"]), max(abs(self.began), float(scores.get("train/loss_if_collapsed", 0.0)))
        if not 0 < _HOPELESS * usual < _LARGEST:  # so large already that its rise could not be told from its size
            return
        if loss > _HOPELESS * usual or (loss > _DIVERGED * usual and not _ranks_better(trainer)):
            raise LostTrainingError(
                f"training diverged: val/loss is {loss:.2g}, training began with {self.began:.2g}; {_MENDS}"
            )


def _interval(trainer: Trainer) -> int:
    steps: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return steps


def _due(trainer: Trainer, step: int) -> bool:
    every = _interval(trainer)
    return every > 0 and step % every == 0


def _ranks_better(trainer: Trainer) -> bool:
    """Tell whether the embedding ranks better than the untrained one; False if that is not known."""
    scores = trainer.callback_metrics
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, KNNEvaluation) and "untrained" in callback.baselines and "val/map_at_r" in scores:
            return float(scores["val/map_at_r"]) > callback.baselines["untrained"]["val"]["map_at_r"]
    return False
