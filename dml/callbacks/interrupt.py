"""On Ctrl-C, SIGTERM or SIGUSR1 in training: finish the batch, save a checkpoint, end; a second one ends at once."""

import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from dml.callbacks.resumable import is_resumable, save_resumable

# Ctrl-C; what a cluster or `docker stop` sends before it kills; what Slurm is often asked to send before. The last one
# Lightning would answer amid a step, by a checkpoint in the current folder that any later training there takes up.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))


@final
class GracefulInterrupt(Checkpoint):  # as such it is called last, when all state agrees
    """Turn the first of these signals into a checkpoint between two batches, from which training resumes exactly.

    Args:
        checkpoint: The file that is written.

    Example:
        >>> GracefulInterrupt(Path("runs/first/checkpoints/last.ckpt")).requested
        False
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.requested = False
        self.saved = False
        self._previous: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals, which only reach the main thread."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._request) for number in _SIGNALS}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop if any process was asked to."""
        if is_resumable(trainer):
            self._stop_if_requested(trainer, epoch_ended=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save and stop if a signal came in the epoch's last batch or during its validation."""
        self._stop_if_requested(trainer, epoch_ended=True)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signals back, unless Lightning already has: its own handlers would keep this trainer alive."""
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._request:
                signal.signal(number, handler)
        self._previous = {}

    def _stop_if_requested(self, trainer: Trainer, epoch_ended: bool) -> None:
        if trainer.strategy.reduce_boolean_decision(self.requested, all=False):
            save_resumable(trainer, self.checkpoint, epoch_ended)
            self.saved = True
            raise KeyboardInterrupt

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        sys.stderr.write(
            "\nstopping after this batch and its validation, if any (Ctrl-C again: at once, without a checkpoint)\n"
        )
