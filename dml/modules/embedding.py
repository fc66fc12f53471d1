"""The LightningModule that learns an embedding: an encoder under a metric loss."""

from typing import Any, final

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from dml.data import Batch, datamodule_of
from dml.encoders import Encoder, materialize
from dml.errors import UserError
from dml.functional.caching import cached_embeddings
from dml.functional.collapse import spread
from dml.functional.distributed import batch_order, gather_rows, gather_with_gradient
from dml.losses import ContrastiveLoss, CrossBatchMemory, TripletLoss
from dml.losses.pml import loss_of_parts, recall, release_graph, remembered, takes_tuples, without_memory
from dml.modules.base import ImageShape, Interval, TrainableModule
from dml.modules.checks import fitting_loss
from dml.modules.param_groups import upper_groups
from dml.ranges import check_number

_REMEMBERED = "remembered_by_loss"  # the key of a checkpoint


def unrounded(embeddings: Tensor) -> Tensor:
    """Return embeddings in float32 where autocast is on: a loss's sums and exponentials need more than 16 bits.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     unrounded(torch.zeros(2, 3, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return embeddings.float() if torch.is_autocast_enabled(embeddings.device.type) else embeddings


@final
class EmbeddingModule(TrainableModule):
    """Learn an encoder such that images of one class lie close together.

    Args:
        encoder: images (B,C,H,W) -> embeddings (B,D).
        loss: `loss(embeddings, labels) -> scalar`: one of `dml.losses` or of pytorch-metric-learning. With several
            processes, it sees the embeddings of all; its weights (proxies, centres), if any, are learnt too.
        miner: `miner(embeddings, labels) -> tuples` of pytorch-metric-learning, passed to its losses as third argument.
        optimizer: Builds the optimiser from parameters.
        lr_scheduler: Builds the learning-rate schedule from the optimiser; None keeps the rate.
        lr_interval: Whether the schedule moves after every `epoch` or every `step`.
        loss_lr: Learning rate of the loss's own weights, often 100 times the encoder's; None: the optimiser's.
        encoder_lr: Learning rate of the encoder's layers below its last one, which is new in transfer and learns at the
            optimiser's rate; None: one rate for all. See `dml.encoders.layers_of`.
        encoder_lr_decay: Each of these layers' rate is that of the layer above times this, in (0, 1].
        chunk_size: Gradient caching: this many images pass the encoder at a time, twice, with the gradient of the
            whole batch in the memory of a chunk; None: all at once. See `dml.functional.caching`.
        compile: Compile the encoder with torch.compile when training starts.
        channels_last: Keep images and weights with the channels innermost: faster convolutions, above all under bf16.

    Raises:
        UserError: `loss_lr` is given but the loss has no weights, a miner is given but the loss takes no tuples, or the
            loss has proxies for fewer classes than the data holds.

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
        miner: nn.Module | None = None,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Interval = "epoch",
        loss_lr: float | None = None,
        encoder_lr: float | None = None,
        encoder_lr_decay: float = 1.0,
        chunk_size: int | None = None,
        compile: bool = False,
        channels_last: bool = False,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, lr_interval, compile, channels_last)
        if miner is not None and not takes_tuples(loss):
            raise UserError(f"{type(loss).__name__} takes no miner: leave model.miner out (TripletLoss has `mining`)")
        if chunk_size is not None:
            check_number("chunk_size", chunk_size, least=1)
        if loss_lr is not None:
            check_number("loss_lr", loss_lr, least=0)
        if encoder_lr is None and encoder_lr_decay != 1:
            raise UserError("model.encoder_lr_decay needs the rate it is a share of: set model.encoder_lr")
        self.encoder = encoder
        self.loss = loss
        self.miner = miner
        self.loss_lr = loss_lr
        self.encoder_lr = encoder_lr
        self.encoder_lr_decay = encoder_lr_decay
        self.chunk_size = chunk_size
        self._part_size: int | None = None  # images that a foreign loss is shown at once while validating
        self._latest: tuple[Tensor, Tensor] | None = None  # embeddings and labels of the latest training batch

    def build(self, image_shape: ImageShape) -> None:
        """Fix the encoder's sizes for images of this shape, without the batch."""
        materialize(self.encoder, image_shape)

    def setup(self, stage: str) -> None:
        """Check the loss against the data."""
        data = datamodule_of(self.trainer)
        self._part_size = getattr(data, "batch_size", None)
        num_classes = getattr(self.loss, "num_classes", None)
        if data is not None and isinstance(num_classes, int) and 0 < num_classes < data.num_labels:  # 0: not told
            made = "" if data.num_labels == data.num_classes else f", which data.transform makes of {data.num_classes}"
            raise UserError(
                f"{type(self.loss).__name__} has {num_classes} classes and the data has {data.num_labels}{made}: "
                f"set model.loss.num_classes to {data.num_labels}"
            )

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,C,H,W)."""
        embeddings: Tensor = self.encoder(images)
        return embeddings

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        batch = batch if isinstance(batch, Batch) else self.numbered(batch)
        embeddings = gather_with_gradient(unrounded(self._embed(batch.images)))
        labels = gather_rows(batch.labels)
        order = batch_order(len(labels))
        embeddings, labels = embeddings[order], labels[order]
        self._latest = embeddings.detach(), labels
        with fitting_loss(self.loss), torch.autocast(embeddings.device.type, enabled=False):
            loss: Tensor = self.loss(embeddings, labels, *self._mined(embeddings, labels))
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                raise TypeError("it returns no single number: choose another reducer")
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.labels))
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Release the batch's graph if the loss remembers it."""
        release_graph(self.loss)

    @torch.no_grad()
    def measure_latest(self) -> dict[str, float]:
        """Measure the latest training batch: `spread`, and `active_tuples` and `loss_if_collapsed` if known.

        Returns:
            The mean distance of embeddings to their mean, the share of pairs or triplets that cost something, in [0,
            1], and the loss if all embeddings were their mean; that of a loss with a memory, or with a miner, is not
            known.
        """
        if self._latest is None:
            return {}
        embeddings, labels = self._latest[0].float(), self._latest[1]
        loss = self.loss.loss if isinstance(self.loss, CrossBatchMemory) else self.loss
        found = {"spread": spread(embeddings)}
        if isinstance(loss, TripletLoss | ContrastiveLoss):
            found["active_tuples"] = loss.active_share(embeddings, labels)
        if self.miner is None and not remembered(loss):
            found["loss_if_collapsed"] = float(loss(embeddings.mean(dim=0).expand_as(embeddings), labels))
        return found

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save what the loss remembers outside its state dict, too."""
        super().on_save_checkpoint(checkpoint)
        if kept := remembered(self.loss):
            checkpoint[_REMEMBERED] = kept

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another model's weights; restore what the loss remembered."""
        super().on_load_checkpoint(checkpoint)
        recall(self.loss, checkpoint.get(_REMEMBERED, {}))

    def learnt_parameters(self) -> list[Any]:
        """Return the encoder's and the loss's parameters, as groups if some of them have their own learning rate."""
        if self.loss_lr is None and self.encoder_lr is None:
            return super().learnt_parameters()
        weights = list(self.loss.parameters())
        if self.loss_lr is not None and not weights:
            raise UserError(f"{type(self.loss).__name__} has no weights: leave model.loss_lr out")
        if self.encoder_lr is None:
            groups = [{"params": [p for p in self.encoder.parameters() if p.requires_grad]}]
        else:
            groups = upper_groups(self.encoder, self.encoder_lr, self.encoder_lr_decay)
        rate = {} if self.loss_lr is None else {"lr": self.loss_lr}
        name = {} if self.encoder_lr is None else {"name": "loss"}  # all groups are named, or none
        return groups + ([{"params": weights, **rate, **name}] if weights else [])

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the embeddings (B,D) of a batch; the loss of queries is logged, that of references is not."""
        return self._evaluate(self.numbered(batch, dataloader_idx), dataloader_idx)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the embeddings (B,D) of a batch; the loss of queries is logged, that of references is not."""
        return self._evaluate(self.numbered(batch, dataloader_idx), dataloader_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the embeddings (B,D) of a batch."""
        return self.forward(self.numbered(batch).images)

    def _embed(self, images: Tensor) -> Tensor:
        if self.chunk_size is None:
            return self.forward(images)
        return cached_embeddings(self.encoder, images, self.chunk_size)

    def _mined(self, embeddings: Tensor, labels: Tensor) -> tuple[Any, ...]:
        return () if self.miner is None else (self.miner(embeddings, labels),)

    def _evaluate(self, batch: Batch, dataloader_idx: int) -> Tensor:
        embeddings: Tensor = self(batch.images)
        if dataloader_idx == 0:
            with torch.autocast(embeddings.device.type, enabled=False):
                loss = self._held_back_loss(unrounded(embeddings), batch.labels)
            self.add_query_means(batch, dataloader_idx, {} if loss is None else {"loss": loss})
        return embeddings

    def _held_back_loss(self, embeddings: Tensor, labels: Tensor) -> Tensor | None:
        """Return the loss of a batch that is not trained on; another package's loss gets parts of the training size.

        None if that loss cannot take such a batch: some need the same number of images of each class.
        """
        loss = without_memory(self.loss)
        if self._part_size is None or type(loss).__module__.startswith("dml."):
            with fitting_loss(self.loss):
                value: Tensor = loss(embeddings, labels)
            return value
        try:
            with fitting_loss(self.loss):
                return loss_of_parts(loss, embeddings, labels, self._part_size)
        except UserError as error:
            if self.trainer.state.fn != "fit":
                raise
            rank_zero_warn(f"val/loss is left out: {error}")
            return None
