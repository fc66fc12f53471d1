"""What the LightningModules share: sizes, optimiser, logged means, and the check of a checkpoint."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from torch import Tensor
from torch.nn.parameter import is_lazy

from dml.data import Batch, BatchNumbering, LabelledData, datamodule_of
from dml.data.handover import prepare_once
from dml.encoders import Encoder, FlattenEncoder
from dml.errors import UserError
from dml.functional.distributed import gather_rows
from dml.modules.checks import check_fits, check_scale, check_view_shapes
from dml.modules.fixed_later import fix_sizes_later
from dml.modules.layout import compile_encoder, lay_channels_last
from dml.modules.optimization import build_optimizer, build_schedule, tell_length
from dml.modules.param_groups import scale_rates
from dml.modules.patches import whiten_patches
from dml.modules.plain_loaders import sample_shape

Interval = Literal["epoch", "step"]
ImageShape = tuple[int, ...]
_NEVER = 1 << 62  # epochs
_TRAIN_SUMS = "train_sums"  # the key of a checkpoint


class TrainableModule(LightningModule, ABC):
    """A LightningModule that builds its own optimiser and refuses another model's checkpoint.

    Its data is a `LabelledData` datamodule, or any torch DataLoader of (images, labels).

    Args:
        optimizer: Builds the optimiser from parameters.
        lr_scheduler: Builds the learning-rate schedule from the optimiser; None keeps the rate.
        lr_interval: Whether the schedule moves after every `epoch` or every `step`.
        compile: Compile the encoder with torch.compile when training starts.
        channels_last: Keep images and weights with the channels innermost: faster convolutions, above all under bf16.
    """

    encoder: Encoder
    monitor: ClassVar[str]  # what the best checkpoint is chosen by, where the recipe names nothing else
    monitor_mode: ClassVar[Literal["min", "max"]]

    def __init__(
        self,
        optimizer: OptimizerCallable,
        lr_scheduler: LRSchedulerCallable | None,
        lr_interval: Interval,
        compile: bool,
        channels_last: bool,
    ) -> None:
        super().__init__()
        self._optimizer = optimizer
        self._lr_scheduler = lr_scheduler
        self._lr_interval = lr_interval
        self._lr: float | None = None
        self._compile = compile
        self._channels_last = channels_last
        self._plateau: ReduceLROnPlateau | None = None
        self._validated = False  # in this epoch
        self._train_sums: dict[str, Tensor] = {}  # over this epoch's images, and their number
        self._numberings: dict[int, BatchNumbering] = {}
        self._query_means: list[tuple[int, int, dict[str, float]]] = []  # (first id, samples, means) of each batch

    @abstractmethod
    def build(self, image_shape: ImageShape) -> None:
        """Fix all sizes that follow from the shape of one image, without the batch; a second call changes nothing."""

    def build_for(self, data: LabelledData) -> None:
        """Fix all sizes that follow from the data."""
        self.build(data.image_shape)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *_: Any, **__: Any) -> Any:
        """Refuse: a dml checkpoint holds weights and state only; the run's recipe says which model they are for.

        Raises:
            UserError: Always; says what to call instead.
        """
        raise UserError(
            f"{checkpoint_path} holds weights, not the module: call dml.load(RUN) for the encoder of a run, or build "
            "the module, then module.build(image_shape) and module.load_state_dict(torch.load(PATH)['state_dict'])"
        )

    @property
    def lr(self) -> float | None:
        """Learning rate that replaces the optimiser's own, set by Lightning's `lr_find`; None: the optimiser's."""
        return self._lr

    @lr.setter
    def lr(self, rate: float | None) -> None:
        self._lr = rate

    def configure_callbacks(self) -> list[Callback]:
        """Fix all sizes before any callback sees the module; Lightning calls this hook first, in every process.

        Where several processes train, the data are ready a little later, when the first of them has prepared them.
        """
        if self.trainer.world_size > 1 and datamodule_of(self.trainer) is not None:
            fix_sizes_later(self.trainer, self.fix_sizes)
        else:
            self.fix_sizes()
        return []

    def fix_sizes(self) -> None:
        """Fix all sizes by the data."""
        data = datamodule_of(self.trainer)
        if data is not None:
            data.setup()
            check_scale(self, data)
            self.build_for(data)
            if self.trainer.state.fn == "fit":
                check_view_shapes(self.encoder, data)
                whiten_patches(self, data)
        elif self._is_open() and (shape := sample_shape(self.trainer)) is not None:
            self.build(shape)
        if self._channels_last:
            lay_channels_last(self.encoder)
        if self._compile and self.trainer.state.fn == "fit":
            compile_encoder(self.encoder)

    def _is_open(self) -> bool:
        """Tell whether sizes are still open: only then is a sample looked at, which a stream would lose."""
        return any(is_lazy(tensor) for tensor in [*self.parameters(), *self.buffers()])

    def configure_optimizers(self) -> Any:
        """Return the optimiser of all that is not frozen, with its schedule.

        Raises:
            UserError: There is nothing to learn.
        """
        learnt = self.learnt_parameters()
        if not learnt:
            raise UserError("the model has nothing to learn: score it with `dml evaluate` or `dml validate`")
        optimizer = build_optimizer(self._optimizer, learnt)
        if self._lr is not None:
            scale_rates(optimizer, self._lr)
        if self._lr_scheduler is None:
            return optimizer
        schedule = build_schedule(self._lr_scheduler, optimizer)
        config: dict[str, Any] = {"scheduler": schedule, "interval": self._lr_interval}
        if isinstance(schedule, ReduceLROnPlateau):
            if self._lr_interval == "step":
                raise UserError("ReduceLROnPlateau looks at a score after an epoch: leave model.lr_interval out")
            self._plateau = schedule
            config |= {"monitor": schedule.monitor, "frequency": _NEVER}
        return {"optimizer": optimizer, "lr_scheduler": config}

    def on_train_epoch_start(self) -> None:
        """Begin an epoch that has not been validated; one that is resumed midway is not begun again."""
        self._validated, self._train_sums = False, {}

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means, and give a plateau schedule its score if that is new.

        Lightning would do so after the checkpoint was written.
        """
        for name, (total, count) in self._train_sums.items():
            self.log(f"train/{name}", total / count, sync_dist=True)
        if self._plateau is None or not (self._validated or not self._plateau.monitor.startswith("val/")):
            return
        scores = self.trainer.callback_metrics
        if self._plateau.monitor not in scores:
            raise UserError(
                f"model.lr_scheduler.monitor={self._plateau.monitor!r} is not logged: choose from {', '.join(scores)}"
            )
        self._plateau.step(scores[self._plateau.monitor])

    def learnt_parameters(self) -> list[Any]:
        """Return what the optimiser is built from: parameters, or groups of them in torch.optim's form."""
        return [p for p in self.parameters() if p.requires_grad]

    def on_train_start(self) -> None:
        """Tell the schedule how long training is; give an encoder that centres images the mean training image.

        A frozen one keeps its own.
        """
        tell_length(self.trainer)
        data = datamodule_of(self.trainer)
        for part in self.modules():
            if isinstance(part, FlattenEncoder) and part.center and part.training and data is not None:
                part.mean = prepare_once(partial(_mean_image, part, data), self.trainer).to(self.device)

    def numbered(self, batch: Any, dataloader_idx: int = 0) -> Batch:
        """Return a batch in dml's form: a plain loader's samples get ids in the order they come."""
        return self._numberings.setdefault(dataloader_idx, BatchNumbering(dataloader_idx))(batch)

    def on_validation_epoch_start(self) -> None:
        """Begin a pass."""
        self._begin_pass()

    def on_test_epoch_start(self) -> None:
        """Begin a pass."""
        self._begin_pass()

    def on_predict_epoch_start(self) -> None:
        """Begin a pass."""
        self._begin_pass()

    def on_validation_epoch_end(self) -> None:
        """Log the means over all queries."""
        self._validated = True
        self._log_query_means("val")

    def on_test_epoch_end(self) -> None:
        """Log the means over all queries."""
        self._log_query_means("test")

    def add_query_means(self, batch: Batch, dataloader_idx: int, means: Mapping[str, Tensor]) -> None:
        """Collect what is logged as a mean over all queries at the end of the pass; references do not count.

        Args:
            batch: Of B samples.
            dataloader_idx: 0: queries.
            means: Scalars, each the mean over the batch.
        """
        if dataloader_idx == 0:
            named = {name: float(value.detach()) for name, value in means.items()}
            self._query_means.append((int(batch.ids[0]), len(batch.labels), named))

    def add_train_mean(self, name: str, value: Tensor, count: int) -> None:
        """Collect what is logged as a mean over the images of an epoch at its end, even if it was stopped midway.

        Args:
            name: Of the score; it is logged as `train/NAME`.
            value: Scalar, the mean over a batch.
            count: B.
        """
        own = torch.stack([value.detach() * count, value.new_tensor(count)])
        self._train_sums[name] = self._train_sums[name].to(own) + own if name in self._train_sums else own

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save what the epoch has measured so far."""
        checkpoint[_TRAIN_SUMS] = self._train_sums

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another model's weights before anything is loaded; restore what the epoch had measured."""
        check_fits(self, checkpoint["state_dict"])
        self._train_sums = checkpoint.get(_TRAIN_SUMS, {})

    def _begin_pass(self) -> None:
        self._numberings, self._query_means = {}, []

    def _log_query_means(self, split: str) -> None:
        """Log means whose bits do not depend on how many processes shared the batches."""
        kept = [means for _, _, means in self._query_means]  # what every batch could tell
        names = [name for name in kept[0] if all(name in means for means in kept)] if kept else []
        rows = torch.tensor(
            [[first, count, *(means[name] for name in names)] for first, count, means in self._query_means],
            dtype=torch.float64,
        )
        rows = gather_rows(rows.to(self.device if self.device.type == "cuda" else "cpu")).cpu()
        batches = {int(row[0]): row for row in rows}  # each once, in the order of one process alone
        ordered = [batches[first] for first in sorted(batches)]
        for column, name in enumerate(names, start=2):
            total, count = torch.zeros(()), 0
            for row in ordered:
                total = total + row[column].float() * int(row[1])
                count += int(row[1])
            self.log(f"{split}/{name}", total / count, batch_size=1)


def _mean_image(part: FlattenEncoder, data: LabelledData) -> Tensor:
    part.take_mean(batch.images for batch in data.ordered_dataloader(data.parts.train))
    return part.mean.cpu()
