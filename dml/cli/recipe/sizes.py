"""Fills in what a loss with proxies needs and a recipe may leave out: the number of classes, the embedding's size."""

import inspect
from importlib import import_module
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from dml.data import LabelledData
from dml.errors import UserError


def fill_sizes(config: Namespace, parser: ArgumentParser) -> LabelledData | None:
    """Set `num_classes` and `embedding_size` of a loss by the data's labels and the encoder, if the recipe does not.

    Args:
        config: The parsed recipe; it is changed.
        parser: It builds the data, which are read to count the labels.

    Returns:
        The data, their labels counted, to be used in place of others; None where nothing had to be counted.

    Raises:
        UserError: The encoder's recipe does not say the size of its embedding, or the loss needs something else.

    Example:
        >>> fill_sizes(Namespace(model=Namespace(init_args=Namespace(loss=None))), ArgumentParser()) is None
        True
    """
    model = _arguments(config.get("model"))
    loss = None if model is None else _arguments(model.get("loss"))
    data: LabelledData | None = None
    if model is None or loss is None:
        return None
    for name in ("embedding_size", "embedding_dim"):  # pytorch-metric-learning's word and ours
        if _is_open(loss, name):
            encoder = _arguments(model.get("encoder"))
            while encoder is not None and "embedding_dim" not in encoder:  # of an encoder around another
                encoder = _arguments(encoder.get("encoder"))
            size = None if encoder is None else encoder.get("embedding_dim")
            if not isinstance(size, int):
                raise UserError(
                    f"{model.loss.class_path} needs {name}, which the encoder's recipe does not say: "
                    f"give --model.loss.{name}"
                )
            loss[name] = size
    if _is_open(loss, "num_classes"):
        data = parser.instantiate_classes(Namespace(data=config.data.clone())).data
        assert isinstance(data, LabelledData)
        loss.num_classes = data.count_labels()
    _check_needed(model.loss.class_path, loss)
    return data


def _check_needed(class_path: str, loss: Namespace) -> None:
    """Refuse a loss whose constructor needs an argument that the recipe lacks; the parser skips untyped ones."""
    module, _, name = class_path.rpartition(".")
    parameters = inspect.signature(getattr(import_module(module), name)).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.name in loss and loss[p.name] is None]
    if needed:
        keys = " and ".join(f"--model.loss.{each}" for each in needed)
        raise UserError(f"{class_path} needs {' and '.join(needed)}: give {keys}")


def _arguments(block: Any) -> Namespace | None:
    """Return the constructor's arguments of a class in a parsed recipe, None if the block does not name a class."""
    found = block.get("init_args") if isinstance(block, Namespace) else None
    return found if isinstance(found, Namespace) else None


def _is_open(loss: Namespace, name: str) -> bool:
    return name in loss and loss[name] is None
