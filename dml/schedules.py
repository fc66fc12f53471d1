"""Learning-rate schedules that find out by themselves how long training is."""

import math
from typing import Any, Literal, final, get_args

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dml.ranges import check_choice, check_number

Decay = Literal["cosine", "linear", "constant"]


@final
class WarmupDecay(LRScheduler):
    """Raise the learning rates linearly to those of the optimiser, then lower them along a cosine or a line.

    Of T steps (or epochs, as `model.lr_interval` says) the first W = warmup·T are the warm-up. In step t = 0 … T−1 a
    rate is its own times

    - start + (1 − start)·t / W for t < W; counted in epochs t + 1 takes the place of t, since a whole epoch at rate 0
      would teach nothing;
    - final + (1 − final)·(1 − u) (linear) or final + (1 − final)·(1 + cos πu) / 2 (cosine), u = (t − W) / (T − W).

    Args:
        optimizer: Each of its groups keeps its own rate.
        warmup: Share of training, in [0, 1).
        decay: `cosine`, `linear`, or `constant`.
        start: Share of the rate at the first step, in [0, 1].
        final: Share of the rate that is reached at training's end, in [0, 1].
        length: T; None: the modules of `dml.modules` set it, from the trainer.

    Raises:
        UserError: A number is out of range.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> schedule = WarmupDecay(optimizer, warmup=0.5, decay="linear", length=4)
        >>> [(schedule.get_last_lr()[0], optimizer.step(), schedule.step())[0] for _ in range(4)]
        [0.0, 0.5, 1.0, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup: float = 0.1,
        decay: Decay = "cosine",
        start: float = 0.0,
        final: float = 0.0,
        length: int | None = None,
    ) -> None:
        check_number("warmup", warmup, least=0, below=1)
        check_number("start", start, least=0, most=1)
        check_number("final", final, least=0, most=1)
        check_choice("decay", decay, get_args(Decay))
        if length is not None:
            check_number("length", length, least=1)
        self.warmup = warmup
        self.decay: Decay = decay
        self.start = start
        self.final = final
        self.length = length
        self._ahead = 0  # of t in the warm-up
        super().__init__(optimizer)

    def set_length(self, length: int, in_epochs: bool = False) -> None:
        """Set how many steps or epochs training has; call it before the first, or before a resumed run's next one."""
        if self.length is None:
            self.length, self._ahead = length, int(in_epochs)
            for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
                group["lr"] = rate
            self._last_lr = [float(group["lr"]) for group in self.optimizer.param_groups]

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of each group in the current step."""
        factor = 1.0 if self.length is None else self._factor(self.last_epoch, self.length)
        return [float(rate) * factor for rate in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Return only the step: the trainer of the resumed run says how long training is."""
        return {"last_epoch": self.last_epoch, "_step_count": self._step_count, "_last_lr": self._last_lr}

    def _factor(self, step: int, length: int) -> float:
        warm = self.warmup * length
        if step < warm:
            return self.start + (1 - self.start) * min(1.0, (step + self._ahead) / warm)
        done = min(1.0, (step - warm) / (length - warm))
        if self.decay == "constant":
            return 1.0
        left = (1 + math.cos(math.pi * done)) / 2 if self.decay == "cosine" else 1 - done
        return self.final + (1 - self.final) * left
