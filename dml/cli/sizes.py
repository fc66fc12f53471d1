"""Fills in what a loss with proxies must know and the recipe need not say: the data's classes, the embedding's size."""

from typing import Any

from jsonargparse import ArgumentParser, Namespace

from dml.data import LabelledData
from dml.errors import UserError


def fill_sizes(config: Namespace, parser: ArgumentParser) -> LabelledData | None:
    """Set `num_classes` and `embedding_size` of a loss to the data's and the encoder's, where the recipe has neither.

    Args:
        config: The parsed recipe; it is changed.
        parser: It builds the data, which are read to count the classes.

    Returns:
        The data, set up, to be used in place of others; None where nothing had to be counted.

    Raises:
        UserError: The encoder's recipe does not say the size of its embedding.

    Example:
        >>> fill_sizes(Namespace(model=Namespace(init_args=Namespace(loss=None))), ArgumentParser()) is None
        True
    """
    model = _arguments(config.get("model"))
    loss = None if model is None else _arguments(model.get("loss"))
    data: LabelledData | None = None
    if model is None or loss is None:
        return None
    if _is_open(loss, "embedding_size"):
        encoder = _arguments(model.get("encoder"))
        size = None if encoder is None else encoder.get("embedding_dim")
        if not isinstance(size, int):
            raise UserError(
                f"{model.loss.class_path} needs embedding_size, which the encoder's recipe does not say: "
                "give --model.loss.embedding_size"
            )
        loss.embedding_size = size
    if _is_open(loss, "num_classes"):
        data = parser.instantiate_classes(Namespace(data=config.data.clone())).data
        assert isinstance(data, LabelledData)
        data.setup("fit")
        loss.num_classes = data.num_classes
    return data


def _arguments(block: Any) -> Namespace | None:
    """Return the constructor's arguments of a class in a parsed recipe, None where the block is of no class."""
    found = block.get("init_args") if isinstance(block, Namespace) else None
    return found if isinstance(found, Namespace) else None


def _is_open(loss: Namespace, name: str) -> bool:
    return name in loss and loss[name] is None
