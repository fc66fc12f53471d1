"""Keeps the random state of layers (dropout) in checkpoints; that of batches and transforms is addressed."""

from typing import Any, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


@final
class RandomState(Callback):
    """Save torch's generators with every checkpoint and set them when a resumed training starts.

    Example:
        >>> callback = RandomState()
        >>> state = callback.state_dict()
        >>> first = torch.rand(3)
        >>> callback.load_state_dict(state)
        >>> callback.on_train_start(None, None)
        >>> torch.equal(first, torch.rand(3))
        True
    """

    def __init__(self) -> None:
        self._resumed: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the CPU's generator and of every CUDA device's."""
        return {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until training starts: building the model draws numbers too."""
        self._resumed = state_dict

    def on_train_start(self, trainer: Trainer | None, pl_module: LightningModule | None) -> None:
        """Set the generators."""
        if self._resumed is None:
            return
        torch.set_rng_state(self._resumed["cpu"].cpu())
        if len(self._resumed["cuda"]) == torch.cuda.device_count():  # a run may be resumed on other hardware
            torch.cuda.set_rng_state_all([state.cpu() for state in self._resumed["cuda"]])
