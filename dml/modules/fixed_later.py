"""Fixes a module's sizes once several processes have their data, before any callback is set up."""

from collections.abc import Callable
from typing import final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng


@final
class SizesLater(Callback):
    """Fix a module's sizes in the first hook after Lightning has set up the data.

    Weights are drawn from where torch's generator stands now: Lightning seeds it anew before the data are ready, and
    several processes are to begin with the weights of one.

    Args:
        fix: fixes them.
    """

    def __init__(self, fix: Callable[[], None]) -> None:
        self._fix = fix
        self._generator = torch.get_rng_state()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Fix them."""
        with isolate_rng():
            torch.set_rng_state(self._generator)
            self._fix()


def fix_sizes_later(trainer: Trainer, fix: Callable[[], None]) -> None:
    """Have a trainer fix the sizes of its module before its other callbacks see it.

    Args:
        trainer: about to train, validate, test or predict.
        fix: fixes them; its weights are drawn as if it were called now.

    Example:
        >>> trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False)
        >>> fix_sizes_later(trainer, lambda: print("fixed"))
        >>> trainer.callbacks[0].setup(trainer, LightningModule(), "fit")
        fixed
    """
    others = [each for each in trainer.callbacks if not isinstance(each, SizesLater)]  # type: ignore[attr-defined]
    trainer.callbacks = [SizesLater(fix), *others]  # type: ignore[attr-defined]
