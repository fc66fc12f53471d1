"""Warns where a processor lacks the arithmetic that a recipe names, and torch imitates it."""

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn


def warn_of_emulation(trainer: Trainer) -> None:
    """Say in one line that a trainer's precision is slow on this processor, of a GPU or of float32 nothing.

    Args:
        trainer: With its device chosen.

    Example:
        >>> warn_of_emulation(Trainer(logger=False, accelerator="cpu", precision="32-true", enable_progress_bar=False))
    """
    on_cpu = trainer.strategy.root_device.type == "cpu"
    if on_cpu and trainer.precision == "bf16-mixed" and not computes_bfloat16():
        rank_zero_warn(
            "this processor imitates bfloat16, 10 to 100 times slower than float32: stop, and give "
            "--trainer.precision 32-true in place of bf16-mixed"
        )


def computes_bfloat16() -> bool:
    """Return whether this processor computes in bfloat16: those of x86 with AVX-512, and some of ARM.

    What torch itself asks before it leaves a convolution to oneDNN. A build without oneDNN, such as a Mac's, cannot
    tell, and counts as able.

    Example:
        >>> computes_bfloat16() in (True, False)
        True
    """
    return not torch.backends.mkldnn.is_available() or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
