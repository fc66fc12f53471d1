"""The LightningModule that learns to name classes: an encoder and a head under a classification loss."""

import logging
from collections.abc import Sequence
from typing import Any, final

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from dml.data import Batch, LabelledData, datamodule_of
from dml.data.loader import BatchLoader
from dml.encoders import Encoder, materialize
from dml.errors import UserError
from dml.evaluation import ClassCounts, macro_scores
from dml.functional.distributed import share_weight
from dml.modules.base import ImageShape, Interval, TrainableModule
from dml.modules.checks import fitting_loss
from dml.modules.frozen import FrozenEmbeddings
from dml.modules.mixing import cut_mix
from dml.modules.param_groups import parameter_groups
from dml.modules.predictions import Predictions
from dml.modules.unfreezing import fixed_weights, moving_layers, unfreeze
from dml.ranges import check_number

logger = logging.getLogger(__name__)


@final
class ClassifierModule(TrainableModule):
    """Learn a head, and the encoder below it unless that is frozen, to name the class of an image.

    Args:
        encoder: images (B,C,H,W) -> embeddings (B,D).
        head: embeddings (B,D) -> logits (B,num_classes), one of `dml.heads`.
        loss: `loss(logits, labels) -> scalar`.
        freeze_encoder: Leave the encoder as it is: weights, BatchNorm statistics and dropout.
        cache_embeddings: Run a frozen encoder once per image and keep its embeddings, in memory and in the data's cache
            folder. Transformed images differ in every epoch: on them the encoder runs each time, and a warning says so.
            The results are those without the cache, bit for bit where a row of the encoder's output does not depend on
            the other rows of its batch; matrix products may round differently at another batch size.
        encoder_lr: Learning rate of the encoder's last layer, if it is to differ from the optimiser's; the groups of
            the optimiser are then the head and the encoder's layers, last to first (`dml.encoders.layers_of`).
        encoder_lr_decay: Each layer's rate is that of the layer above times this, in (0, 1].
        unfreeze_every: The layers of a frozen encoder are unfrozen, one more after every so many epochs, from the last
            to the first; None: they never are.
        cut_mix: Probability that the images of a batch each get a rectangle of another one in training; the loss is
            then the mean of the losses under both labels, weighted by their share of the frame, and `train/accuracy`
            counts the label of the larger share (`dml.modules.cut_mix`). 0: never.
        optimizer: Builds the optimiser from parameters.
        lr_scheduler: Builds the learning-rate schedule from the optimiser; None keeps the rate.
        lr_interval: Whether the schedule moves after every `epoch` or every `step`.
        compile: Compile the encoder with torch.compile when training starts.
        channels_last: Keep images and weights with the channels innermost: faster convolutions, above all under bf16.

    Raises:
        UserError: `encoder_lr_decay` is given without `encoder_lr`, an encoder that stays frozen has a rate, one that
            is not frozen is to be unfrozen, or `cut_mix` is to change images of which embeddings are kept; when
            training starts: the head has another number of classes than the data, or the schedule has one rate where
            there are several.

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
        cache_embeddings: bool = True,
        encoder_lr: float | None = None,
        encoder_lr_decay: float = 1.0,
        unfreeze_every: int | None = None,
        cut_mix: float = 0.0,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Interval = "epoch",
        compile: bool = False,
        channels_last: bool = False,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, lr_interval, compile, channels_last)
        self.encoder = encoder
        self.head = head
        self.loss = nn.CrossEntropyLoss() if loss is None else loss
        self.freeze_encoder = freeze_encoder
        self.cache_embeddings = cache_embeddings
        self.encoder_lr = encoder_lr
        self.encoder_lr_decay = encoder_lr_decay
        self.unfreeze_every = unfreeze_every
        self.cut_mix = cut_mix
        self._frozen: FrozenEmbeddings | None = None
        self._moving = 0  # layers of a frozen encoder
        self._fixed = fixed_weights(encoder)
        self.class_counts: ClassCounts | None = None  # of the head, in the latest pass over queries
        self._predictions = Predictions()
        self._check_settings()

    def _check_settings(self) -> None:
        check_number("cut_mix", self.cut_mix, least=0, most=1)
        if self.cut_mix and self.freeze_encoder and self.cache_embeddings:
            raise UserError("model.cut_mix makes new images: set model.cache_embeddings to false, or leave it out")
        if self.encoder_lr is None and self.encoder_lr_decay != 1:
            raise UserError("model.encoder_lr_decay needs the last layer's rate: set model.encoder_lr")
        if self.unfreeze_every is not None and not self.freeze_encoder:
            raise UserError("model.unfreeze_every is for a frozen encoder: set model.freeze_encoder to true")
        if self.encoder_lr is not None and self.freeze_encoder and self.unfreeze_every is None:
            raise UserError("a frozen encoder has no learning rate: leave model.encoder_lr out, or set unfreeze_every")
        moving_layers(0, self.unfreeze_every)

    def build(self, image_shape: ImageShape) -> None:
        """Fix the sizes of encoder and head for images of this shape, without the batch.

        Raises:
            UserError: The head does not fit the encoder.
        """
        self._fix_sizes(image_shape)

    def _fix_sizes(self, image_shape: ImageShape) -> tuple[int, ...]:
        """Return the shape of the logits of one image."""
        embedding = materialize(self.encoder, image_shape)
        try:
            return materialize(self.head, embedding)
        except UserError as error:
            raise UserError(
                f"the head does not fit the encoder, whose embeddings have shape {embedding} ({error.__cause__}): "
                "choose a head of dml.heads, which takes any size"
            ) from error

    def build_for(self, data: LabelledData) -> None:
        """Fix the sizes, and check the head against the data.

        Raises:
            UserError: The head has another number of classes than the data.
        """
        (num_classes,) = self._fix_sizes(data.image_shape)
        if num_classes != data.num_classes:
            raise UserError(
                f"the head has {num_classes} classes and the data has {data.num_classes}: "
                f"set model.head.num_classes to {data.num_classes}"
            )

    def setup(self, stage: str) -> None:
        """Freeze what is to be frozen."""
        if self.unfreeze_every is not None and self.trainer.world_size > 1:
            raise UserError("model.unfreeze_every works on one device: set trainer.devices to 1, or leave it out")
        if self.freeze_encoder:
            unfreeze(self.encoder, 0, training=False, fixed=self._fixed)  # Lightning leaves modes as it finds them

    def train(self, mode: bool = True) -> "ClassifierModule":
        """Switch to training mode; frozen layers stay in evaluation mode: BatchNorm statistics would drift."""
        super().train(mode)
        if self.freeze_encoder:
            unfreeze(self.encoder, self._moving, mode, self._fixed)
        return self

    def on_fit_start(self) -> None:
        """Run a frozen encoder over the images that training and validation will need."""
        data = datamodule_of(self.trainer)
        if data is None:
            return
        if data.transformed and self._cached:
            logger.warning(
                "training images are transformed: the frozen encoder runs on every batch; leave "
                "data.transform out to run it once per image"
            )
        own = [] if data.transformed else [data.ordered_dataloader(data.parts.train)]
        self._serve_embeddings(data, [*own, *data.val_dataloader()])

    def on_train_start(self) -> None:
        """Unfreeze the layers that are due, even in the middle of a resumed epoch."""
        super().on_train_start()
        self._move_layers()

    def on_train_epoch_start(self) -> None:
        """Unfreeze the layers that are due."""
        super().on_train_epoch_start()
        self._move_layers()

    def _move_layers(self) -> None:
        moving = moving_layers(self.current_epoch, self.unfreeze_every)
        if moving != self._moving:
            self._moving = moving
            self.train(self.training)
            self._serve_images()

    def on_validation_start(self) -> None:
        """Prepare the embeddings of a frozen encoder."""
        if (data := datamodule_of(self.trainer)) is not None:
            self._serve_embeddings(data, data.val_dataloader())

    def on_test_start(self) -> None:
        """Prepare the embeddings of a frozen encoder."""
        if (data := datamodule_of(self.trainer)) is not None:
            self._serve_embeddings(data, data.test_dataloader())

    def teardown(self, stage: str) -> None:
        """Make the datamodule hand out images again."""
        self._serve_images()

    def learnt_parameters(self) -> list[Any]:
        """Return all that is learnt, or groups from the head to the first layer if the encoder has its own rate."""
        if self.encoder_lr is None:
            return super().learnt_parameters() if self.unfreeze_every is None else self._ever_learnt()
        own = {id(p) for p in self.encoder.parameters()}
        head = [p for p in self.parameters() if id(p) not in own]
        return parameter_groups(head, self.encoder, self.encoder_lr, self.encoder_lr_decay)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B,num_classes) of images (B,C,H,W)."""
        logits: Tensor = self.head(self.encoder(images))
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        batch = batch if isinstance(batch, Batch) else self.numbered(batch)
        first, second, share = batch.labels, None, 0.0
        if self.cut_mix and torch.rand(()).item() < self.cut_mix:
            images, second, share = cut_mix(batch.images, first)
            batch = batch._replace(images=images)
        logits = self.head(self._embed(batch))
        count = len(first)
        weight = share_weight(count, logits.device)
        with fitting_loss(self.loss):
            loss: Tensor = self.loss(logits, first)
            if second is not None:
                loss = (1 - share) * loss + share * self.loss(logits, second)
        loss = loss * weight
        self.log("train/loss", loss, prog_bar=True, batch_size=count, sync_dist=True)
        larger = first if second is None or share <= 0.5 else second
        self.add_train_mean("accuracy", _accuracy(logits, larger) * weight, count)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the embeddings (B,D) of a batch; its loss and accuracy are logged if it holds queries."""
        return self._evaluate(self.numbered(batch, dataloader_idx), dataloader_idx)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the embeddings (B,D) of a batch; its loss and accuracy are logged if it holds queries."""
        return self._evaluate(self.numbered(batch, dataloader_idx), dataloader_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the class probabilities (B,num_classes) of a batch."""
        logits: Tensor = self.head(self._embed(self.numbered(batch)))
        return logits.softmax(dim=1)

    def _ever_learnt(self) -> list[nn.Parameter]:
        fixed = {f"encoder.{name}" for name in self._fixed}
        return [parameter for name, parameter in self.named_parameters() if name not in fixed]

    def _embed(self, batch: Batch) -> Tensor:
        embeddings: Tensor = self.encoder(batch.images) if batch.embeddings is None else batch.embeddings
        return embeddings

    @property
    def _cached(self) -> bool:
        return self.freeze_encoder and self.cache_embeddings and self._moving == 0

    def _serve_embeddings(self, data: LabelledData, loaders: Sequence[BatchLoader]) -> None:
        if not self._cached:
            return
        if self._frozen is None or self._frozen.data is not data:
            self._frozen = FrozenEmbeddings(self.encoder, data, self._arithmetic)
        self._frozen.serve_loaders(self.trainer, loaders)

    @property
    def _arithmetic(self) -> str:
        layout = " channels_last" if self._channels_last else ""
        return f"{self.trainer.precision} {self.device.type}{layout}"

    def _serve_images(self) -> None:
        if (data := datamodule_of(self.trainer)) is not None:
            data.embedded.clear()

    def _begin_pass(self) -> None:
        super()._begin_pass()
        self._predictions = Predictions()

    def _log_query_means(self, split: str) -> None:
        super()._log_query_means(split)
        self.class_counts = self._predictions.counts(self.device if self.device.type == "cuda" else "cpu")
        if self.class_counts is not None:
            for name, value in macro_scores(self.class_counts).items():
                self.log(f"{split}/{name}", value, batch_size=1)

    def _evaluate(self, batch: Batch, dataloader_idx: int) -> Tensor:
        embeddings = self._embed(batch)
        if dataloader_idx == 0:
            logits = self.head(embeddings)
            with fitting_loss(self.loss):
                means = {"loss": self.loss(logits, batch.labels), "accuracy": _accuracy(logits, batch.labels)}
            self.add_query_means(batch, dataloader_idx, means)
            self._predictions.add(batch, logits)
        return embeddings


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(dim=1) == labels).float().mean()
