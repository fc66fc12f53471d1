"""Keeps the random state of layers (dropout) in checkpoints; that of batches and transforms is addressed."""

from typing import Any, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dml.functional.distributed import gather_rows, rank


@final
class RandomState(Callback):
    """Save torch's generators of all processes with every checkpoint, and set them when a resumed training starts.

    Every process draws its own numbers. A process that is not in the checkpoint, because training resumes with more
    processes, starts afresh.

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
        self._device = torch.device("cpu")

    def state_dict(self) -> dict[str, Any]:
        """Return the states (processes, bytes) of the CPU's generator and of the training device's."""
        states = {"cpu": gather_rows(torch.get_rng_state()[None].to(self._device)).cpu()}
        if self._device.type == "cuda":
            states["cuda"] = gather_rows(torch.cuda.get_rng_state(self._device)[None].to(self._device)).cpu()
        return states

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until training starts: building the model draws numbers too."""
        self._resumed = state_dict

    def on_train_start(self, trainer: Trainer | None, pl_module: LightningModule | None) -> None:
        """Set the generators."""
        if pl_module is not None:
            self._device = pl_module.device
        if rank() > 0:  # every process was seeded alike
            torch.manual_seed(torch.initial_seed() + rank())
        if self._resumed is None:
            return
        if (own := _own(self._resumed, "cpu")) is not None:
            torch.set_rng_state(own)
        if self._device.type == "cuda" and (own := _own(self._resumed, "cuda")) is not None:
            torch.cuda.set_rng_state(own, self._device)


def _own(states: dict[str, Any], device: str) -> Tensor | None:
    """Return this process's state; None if it was not there, or trained on another kind of device."""
    rows: Any = states.get(device, [])
    rows = rows[None] if isinstance(rows, Tensor) and rows.ndim == 1 else rows  # as runs of version 0.1 keep it
    return rows[rank()].cpu().clone() if rank() < len(rows) else None  # torch misreads a view of a larger tensor
