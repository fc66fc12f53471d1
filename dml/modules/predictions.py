"""Collects what a classifier predicts for the queries of a pass, over all processes."""

from typing import final

import torch
from torch import Tensor

from dml.data import Batch
from dml.evaluation import ClassCounts, count_predictions
from dml.functional.distributed import gather_rows


@final
class Predictions:
    """The predicted and the true class of every query of a pass, each sample once.

    Example:
        >>> found = Predictions()
        >>> batch = Batch(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), torch.tensor([7, 5]))
        >>> found.add(batch, torch.tensor([[3.0, 1.0], [2.0, 0.0]]))
        >>> found.counts().correct
        array([1., 0.])
    """

    def __init__(self) -> None:
        self._rows: list[Tensor] = []  # (B,3): id, prediction, label

    def add(self, batch: Batch, logits: Tensor) -> None:
        """Keep the predictions of a batch: the class of the largest of its logits (B,num_classes)."""
        self._rows.append(torch.stack([batch.ids.cpu(), logits.argmax(dim=1).cpu(), batch.labels.cpu()], dim=1))

    def counts(self, device: torch.device | str = "cpu") -> ClassCounts | None:
        """Return the counts of all processes, without their padding; None if there is no query.

        Args:
            device: Where the processes exchange tensors.
        """
        own = torch.cat([torch.zeros(0, 3, dtype=torch.int64), *self._rows])
        rows = gather_rows(own.to(device)).cpu().unique(dim=0)
        return count_predictions(rows[:, 1].numpy(), rows[:, 2].numpy()) if len(rows) else None
