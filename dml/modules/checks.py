"""Refuses, before or during training, a loss, data or weights that do not fit the module."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dml.data import LabelledData
from dml.encoders import WrappedEncoder, materialize
from dml.errors import UserError


@contextmanager
def fitting_loss(loss: nn.Module) -> Iterator[None]:
    """Report in one line that a loss cannot take what it is given: it is not the kind the module needs.

    Example:
        >>> with fitting_loss(nn.Identity()):
        ...     nn.Identity()(torch.zeros(2, 2), torch.zeros(2))
        Traceback (most recent call last):
        ...
        dml.errors.UserError: model.loss: Identity fails on a batch (Identity.forward() takes ...): choose one that ...
    """
    try:
        yield
    except (UserError, torch.OutOfMemoryError):
        raise
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError, AssertionError) as error:
        if "memory" in str(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        told = "choose one that fits the module, and sizes that fit the encoder"
        raise UserError(f"model.loss: {type(loss).__name__} fails on a batch ({reason}): {told}") from error


def check_scale(module: nn.Module, data: LabelledData) -> None:
    """Refuse data that is already normalised if the encoder normalises images itself.

    Raises:
        UserError: Images would be normalised twice.

    Example:
        >>> from dml.data import ImageData
        >>> check_scale(nn.Identity(), ImageData(mean=0.1307))
    """
    halves = all(value in (0.5, [0.5], [0.5] * 3) for value in data.scale)
    for part in module.modules():
        if isinstance(part, WrappedEncoder) and not halves:
            raise UserError(f"{type(part).__name__} normalises images itself: leave data.mean and data.std at 0.5")


def check_view_shapes(encoder: nn.Module, data: LabelledData) -> None:
    """Refuse a transform that shows images in a size that the encoder, built for the data's own, cannot take.

    Raises:
        UserError: Some epoch's images are of such a size.
    """
    for shape in [shape for shape in data.view_shapes if shape != data.image_shape]:
        try:
            materialize(encoder, shape)
        except UserError as error:
            sides, own = ("×".join(map(str, sizes[1:])) for sizes in (shape, data.image_shape))
            raise UserError(
                f"data.transform shows images of {sides} pixels, which {type(encoder).__name__}, built for {own}, "
                f"cannot take ({error.__cause__}): choose other sizes, or an encoder that pools over positions"
            ) from error


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
