"""Watches for the collapse of an embedding: all images moving to one point."""

from typing import Any, final

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from dml.data import Batch


@final
class CollapseWatch(Callback):
    """Log `val/spread` and warn once when it vanishes.

    The spread is the mean distance of the embeddings of the first validation batch to their mean.

    Args:
        threshold: The share of the largest spread seen so far below which the embedding counts as collapsed, in (0, 1).

    Example:
        >>> CollapseWatch(threshold=0.01).largest
        0.0
    """

    def __init__(self, threshold: float = 0.01) -> None:
        self.threshold = threshold
        self.largest = 0.0
        self._first: tuple[float, int] | None = None  # spread and size of the first batch of queries
        self._warned = False

    def state_dict(self) -> dict[str, Any]:
        """Return the largest spread seen."""
        return {"largest": self.largest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the largest spread seen before the resume."""
        self.largest = state_dict["largest"]

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Measure the spread of the first batch of queries."""
        if batch_idx == 0 and dataloader_idx == 0:
            self._first = float((outputs - outputs.mean(dim=0)).norm(dim=1).mean()), len(outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the spread of the first process, which has the first batch, and warn where it vanished."""
        if self._first is None:
            return
        spread, size = trainer.strategy.broadcast(self._first)
        self._first = None
        pl_module.log("val/spread", spread, batch_size=size)
        self.largest = max(self.largest, spread)
        if spread < self.threshold * self.largest and not self._warned:
            self._warned = True
            rank_zero_warn(
                f"the embedding collapses: its spread is {spread:.2g}, it was {self.largest:.2g}; "
                "a loss that also pushes classes apart (ContrastiveLoss, TripletLoss) prevents it"
            )
