"""The LightningModule that learns an embedding: an encoder under a metric loss. Glue only."""

from typing import final

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from dml.data import Batch
from dml.encoders import Encoder, materialize
from dml.modules.base import Interval, TrainableModule


@final
class EmbeddingModule(TrainableModule):
    """Learn an encoder such that images of one class lie close together.

    Args:
        encoder: images (B,C,H,W) -> embeddings (B,D).
        loss: `loss(embeddings, labels) -> scalar`: one of `dml.losses` or of pytorch-metric-learning.
        optimizer: Builds the optimiser from parameters.
        lr_scheduler: Builds the learning-rate schedule from the optimiser; None keeps the rate.
        lr_interval: Whether the schedule moves after every `epoch` or every `step`.

    Example:
        >>> import torch
        >>> from dml.encoders import LinearEncoder
        >>> from dml.losses import PullLoss
        >>> module = EmbeddingModule(LinearEncoder(embedding_dim=2), PullLoss())
        >>> module(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 2])
    """

    monitor = "val/map_at_r"
    monitor_mode = "max"

    def __init__(
        self,
        encoder: Encoder,
        loss: nn.Module,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Interval = "epoch",
    ) -> None:
        super().__init__(optimizer, lr_scheduler, lr_interval)
        self.encoder = encoder
        self.loss = loss

    def setup(self, stage: str) -> None:
        """Fix the encoder's input sizes before optimisers and checkpoints need them."""
        materialize(self.encoder, self.trainer.datamodule.image_shape)  # type: ignore[attr-defined]

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,C,H,W)."""
        embeddings: Tensor = self.encoder(images)
        return embeddings

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss: Tensor = self.loss(self(batch.images), batch.labels)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.labels))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the embeddings (B,D) of a batch; log the loss of the queries, not of the references."""
        return self._evaluate(batch, dataloader_idx, "val")

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the embeddings (B,D) of a batch; log the loss of the queries, not of the references."""
        return self._evaluate(batch, dataloader_idx, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the embeddings (B,D) of a batch."""
        return self(batch.images)

    def _evaluate(self, batch: Batch, dataloader_idx: int, split: str) -> Tensor:
        embeddings: Tensor = self(batch.images)
        if dataloader_idx == 0:
            loss = self.loss(embeddings, batch.labels)
            self.log(f"{split}/loss", loss, batch_size=len(batch.labels), add_dataloader_idx=False, sync_dist=True)
        return embeddings
