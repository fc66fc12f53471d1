"""Collects embeddings over the batches and the processes of an evaluation loop."""

from typing import Any, final

import numpy as np
import torch
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor

from dml.data import BatchNumbering
from dml.embeddings import EmbeddingSet
from dml.encoders import Encoder
from dml.errors import LostTrainingError
from dml.functional.distributed import gather_rows
from dml.functional.growing import GrowingRows


def encoder_of(module: LightningModule) -> Encoder:
    """Return the encoder of one of our modules.

    Example:
        >>> from dml.encoders import FlattenEncoder
        >>> from dml.losses import PullLoss
        >>> from dml.modules import EmbeddingModule
        >>> type(encoder_of(EmbeddingModule(FlattenEncoder(), PullLoss()))).__name__
        'FlattenEncoder'
    """
    encoder = module.encoder
    assert isinstance(encoder, Encoder)
    return encoder


_CHECKED = 1024  # rows looked at together


@final
class Collector:
    """Gathers batches and returns every sample once, over all processes and without their padding.

    Args:
        loader: The number of the loader the batches come from.

    Example:
        >>> from dml.data import Batch
        >>> collector = Collector()
        >>> collector.add(torch.ones(2, 3), Batch(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), torch.tensor([7, 5])))
        >>> collector.collect().ids
        array([5, 7])
    """

    def __init__(self, loader: int = 0) -> None:
        self._columns = (GrowingRows(), GrowingRows(), GrowingRows())  # embeddings, labels and ids
        self._numbered = BatchNumbering(loader)

    def add(self, embeddings: Tensor, batch: Any) -> None:
        """Keep the embeddings (B,D) of a batch, ours or a plain loader's."""
        batch = self._numbered(batch)
        rows = embeddings.detach().float(), batch.labels, batch.ids
        for column, row in zip(self._columns, rows, strict=True):
            column.append(row)

    def collect(self, device: torch.device | str = "cpu") -> EmbeddingSet:
        """Return the samples of all processes, each once, ordered by id.

        Args:
            device: Where the processes exchange tensors.

        Raises:
            LostTrainingError: Embeddings are NaN, or so large that their distances overflow: training diverged.
        """
        nothing = torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
        found = [column.all() for column in self._columns]
        columns = [other if own is None else own for own, other in zip(found, nothing, strict=True)]
        self._columns = (GrowingRows(), GrowingRows(), GrowingRows())
        own = sum(_count_overflows(rows.numpy()) for rows in columns[0].split(_CHECKED))
        # all processes must end here together, or those that are well would wait for the others
        wrong = int(gather_rows(torch.tensor([own], device=device)).sum())
        if wrong:
            raise LostTrainingError(
                f"{wrong} embeddings are NaN or too large: training diverged; lower model.optimizer.lr"
            )
        return EmbeddingSet.gather(columns[0], columns[1], columns[2], device=device)


def _count_overflows(rows: NDArray[np.float32]) -> int:
    with np.errstate(over="ignore", invalid="ignore"):  # squared, as distances are: they overflow earlier
        return int(np.count_nonzero(~np.isfinite(4 * np.square(rows).sum(axis=1))))
