"""The LightningModule that learns to name classes: an encoder and a head under a classification loss. Glue only."""

from typing import final

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from dml.data import Batch
from dml.encoders import Encoder, materialize
from dml.errors import UserError
from dml.modules.base import Interval, TrainableModule


@final
class ClassifierModule(TrainableModule):
    """Learn a head, and unless it is frozen the encoder below it, to name the class of an image.

    Args:
        encoder: images (B,C,H,W) -> embeddings (B,D).
        head: embeddings (B,D) -> logits (B,num_classes), one of `dml.heads`.
        loss: `loss(logits, labels) -> scalar`.
        freeze_encoder: Leave the encoder as it is: weights, BatchNorm statistics and dropout.
        optimizer: Builds the optimiser from parameters.
        lr_scheduler: Builds the learning-rate schedule from the optimiser; None keeps the rate.
        lr_interval: Whether the schedule moves after every `epoch` or every `step`.

    Raises:
        UserError: The head has another number of classes than the data (when training starts).

    Example:
        >>> import torch
        >>> from dml.encoders import FlattenEncoder
        >>> from dml.heads import LinearHead
        >>> softmax_regression = ClassifierModule(FlattenEncoder(), LinearHead(num_classes=10))
        >>> softmax_regression(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """

    monitor = "val/accuracy"
    monitor_mode = "max"

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        loss: nn.Module | None = None,
        freeze_encoder: bool = False,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Interval = "epoch",
    ) -> None:
        super().__init__(optimizer, lr_scheduler, lr_interval)
        self.encoder = encoder
        self.head = head
        self.loss = nn.CrossEntropyLoss() if loss is None else loss
        self.freeze_encoder = freeze_encoder

    def setup(self, stage: str) -> None:
        """Fix the lazy input sizes, check the head against the data, and freeze what is to be frozen."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        (num_classes,) = materialize(self.head, materialize(self.encoder, data.image_shape))
        if num_classes != data.num_classes:
            raise UserError(
                f"the head has {num_classes} classes and the data has {data.num_classes}: "
                f"set --model.head.num_classes {data.num_classes}"
            )
        if self.freeze_encoder:
            self.encoder.requires_grad_(False)
            self.encoder.eval()  # Lightning leaves modes as it finds them

    def train(self, mode: bool = True) -> "ClassifierModule":
        """Switch to training mode; a frozen encoder stays in evaluation mode: BatchNorm statistics would drift."""
        super().train(mode)
        if self.freeze_encoder:
            self.encoder.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B,num_classes) of images (B,C,H,W)."""
        logits: Tensor = self.head(self.encoder(images))
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        logits = self(batch.images)
        loss: Tensor = self.loss(logits, batch.labels)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.labels))
        self.log("train/accuracy", _accuracy(logits, batch.labels), on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the embeddings (B,D) of a batch; log loss and accuracy of the queries, not of the references."""
        return self._evaluate(batch, dataloader_idx, "val")

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the embeddings (B,D) of a batch; log loss and accuracy of the queries, not of the references."""
        return self._evaluate(batch, dataloader_idx, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the class probabilities (B,num_classes) of a batch."""
        return self.forward(batch.images).softmax(dim=1)

    def _evaluate(self, batch: Batch, dataloader_idx: int, split: str) -> Tensor:
        embeddings: Tensor = self.encoder(batch.images)
        if dataloader_idx == 0:
            logits = self.head(embeddings)
            scores = {"loss": self.loss(logits, batch.labels), "accuracy": _accuracy(logits, batch.labels)}
            named = {f"{split}/{score}": value for score, value in scores.items()}
            self.log_dict(named, batch_size=len(batch.labels), add_dataloader_idx=False, sync_dist=True)
        return embeddings


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(dim=1) == labels).float().mean()
