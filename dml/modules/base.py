"""What the LightningModules share about optimisers and checkpoints; it knows nothing of losses or data."""

from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from torch import Tensor, nn

from dml.data import ImageData
from dml.encoders import Encoder, FlattenEncoder, WrappedEncoder, materialize
from dml.errors import UserError
from dml.modules.rates import check_rates

Interval = Literal["epoch", "step"]


class TrainableModule(LightningModule, ABC):
    """A LightningModule that builds its optimiser from what it was handed and refuses another model's checkpoint.

    Args:
        optimizer: Builds the optimiser from parameters.
        lr_scheduler: Builds the learning-rate schedule from the optimiser; None keeps the rate.
        lr_interval: Whether the schedule moves after every `epoch` or every `step`.
    """

    monitor: ClassVar[str]  # what the best checkpoint is chosen by, where the recipe names nothing else
    monitor_mode: ClassVar[Literal["min", "max"]]

    def __init__(
        self, optimizer: OptimizerCallable, lr_scheduler: LRSchedulerCallable | None, lr_interval: Interval
    ) -> None:
        super().__init__()
        self._optimizer = optimizer
        self._lr_scheduler = lr_scheduler
        self._lr_interval = lr_interval

    def configure_optimizers(self) -> Any:
        """Return the optimiser of all that is not frozen, with its schedule.

        Raises:
            UserError: Nothing is to be learnt.
        """
        learnt = self.learnt_parameters()
        if not learnt:
            raise UserError("the model has nothing to learn: score it with `dml evaluate` or `dml validate`")
        try:
            optimizer = self._optimizer(learnt)
        except (TypeError, ValueError) as error:
            raise UserError(f"model.optimizer cannot be built: {error}") from error
        if self._lr_scheduler is None:
            return optimizer
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        schedule = self._lr_scheduler(optimizer)
        check_rates(optimizer, rates)
        config: dict[str, Any] = {"scheduler": schedule, "interval": self._lr_interval}
        if isinstance(schedule, ReduceLROnPlateau):
            config["monitor"] = schedule.monitor
        return {"optimizer": optimizer, "lr_scheduler": config}

    def learnt_parameters(self) -> list[Any]:
        """Return what the optimiser is built from: parameters, or groups of them as torch.optim takes them."""
        return [p for p in self.parameters() if p.requires_grad]

    def on_train_start(self) -> None:
        """Give an encoder that subtracts the mean image the mean of the training images; a frozen one keeps its own."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        for part in self.modules():
            if isinstance(part, FlattenEncoder) and part.center and part.training:
                part.take_mean(batch.images for batch in data.ordered_dataloader(data.parts.train))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another model's weights before anything is loaded."""
        check_fits(self, checkpoint["state_dict"])


def fit_to_data(encoder: Encoder, data: ImageData) -> tuple[int, ...]:
    """Fix an encoder's lazy sizes by the data's images and return the shape of an embedding.

    Raises:
        UserError: It cannot take such images, or it normalises them itself and the data does too.

    Example:
        >>> from dml.encoders import LinearEncoder
        >>> data = ImageData()
        >>> data.setup("fit")
        >>> fit_to_data(LinearEncoder(embedding_dim=3), data)
        (3,)
    """
    halves = all(value in (0.5, [0.5], [0.5] * 3) for value in (data.mean, data.std))
    if isinstance(encoder, WrappedEncoder) and not halves:
        raise UserError(f"{type(encoder).__name__} normalises images itself: leave data.mean and data.std at their 0.5")
    return materialize(encoder, data.image_shape)


def check_fits(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not this network's, naming the first that differs.

    Args:
        network: The network about to be loaded.
        state: Weights by name, as a checkpoint holds them.

    Raises:
        UserError: A weight is missing, unknown, or of another shape.

    Example:
        >>> check_fits(nn.Linear(2, 3), nn.Linear(2, 4).state_dict())
        Traceback (most recent call last):
        ...
        dml.errors.UserError: the checkpoint is of another model: weight is (4, 2) there and (3, 2) here
    """
    own = network.state_dict()
    for name in [*own, *(name for name in state if name not in own)]:
        here, there = (_shape(weights, name) for weights in (own, state))
        if here != there:
            raise UserError(f"the checkpoint is of another model: {name} is {there} there and {here} here")


def _shape(weights: Mapping[str, Tensor], name: str) -> str:
    return str(tuple(weights[name].shape)) if name in weights else "absent"
