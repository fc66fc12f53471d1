"""Looks at the first sample of plain torch DataLoaders before Lightning sets them up."""

from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor
from torch.random import fork_rng

from dml.data import BatchNumbering


def sample_shape(trainer: Trainer) -> tuple[int, ...] | None:
    """Return the shape of one image of the loaders a trainer was given, None if it has none yet.

    The trainer's public attributes show its loaders only after every callback was set up, which is too late for
    callbacks that copy the module; so the loop's own source is asked.

    Args:
        trainer: About to fit, validate, test or predict.

    Raises:
        UserError: The loader yields something other than (images, labels).

    Example:
        >>> sample_shape(Trainer(logger=False, accelerator="cpu", enable_progress_bar=False)) is None
        True
    """
    loops = {
        "fit": trainer.fit_loop,
        "validate": trainer.validate_loop,
        "test": trainer.test_loop,
        "predict": trainer.predict_loop,
    }
    loop = loops.get(str(trainer.state.fn.value) if trainer.state.fn is not None else "")
    source: Any = None if loop is None else vars(loop)["_data_source"]
    if source is None or not source.is_defined():
        return None
    loaders = source.dataloader()
    loader = loaders[0] if isinstance(loaders, list | tuple) else loaders
    with fork_rng(devices=[]):  # a shuffled loader draws its seed
        images: Tensor = BatchNumbering()(next(iter(loader))).images
    return tuple(images.shape[1:])
