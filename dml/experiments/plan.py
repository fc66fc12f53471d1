"""Estimates what training will take, before it starts: memory and time of a step, of an evaluation, and in all."""

import math
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from dml.errors import UserError

STEPS = 5  # of an epoch that are run: two to get warm, three measured
_MIB = 2**20


@final
@dataclass(frozen=True)
class Estimate:
    """What a step should take, from the sizes of the model alone.

    Args:
        fixed_bytes: Weights, their gradients and the optimiser's two copies (Adam).
        image_bytes: What the backward pass keeps of one image.
        image_flops: Floating-point operations of one image, forward and backward.
    """

    fixed_bytes: int
    image_bytes: int
    image_flops: int

    def memory(self, images: int) -> int:
        """Return the bytes of a step of so many images at once."""
        return self.fixed_bytes + images * self.image_bytes

    def fitting(self, limit: int) -> int:
        """Return the most images whose step takes no more than `limit` bytes; 0 where not one fits."""
        return max(0, (limit - self.fixed_bytes) // max(1, self.image_bytes))


def estimate(encoder: nn.Module, image_shape: tuple[int, ...]) -> Estimate:
    """Estimate a step by passing two and four images, on the processor.

    Args:
        encoder: images (B,C,H,W) -> anything; its sizes are known.
        image_shape: (C,H,W).

    Example:
        >>> found = estimate(nn.Linear(10, 4, bias=False), (10,))
        >>> found.fixed_bytes, found.image_flops  # 40 weights four times; 2 · 40 operations, three times
        (640, 240)
    """
    trained = [weight for weight in encoder.parameters() if weight.requires_grad]
    fixed = sum(_bytes(weight) for weight in encoder.parameters()) + 3 * sum(map(_bytes, trained))
    two, four = (_kept(encoder, (images, *image_shape)) for images in (2, 4))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        _pass(encoder, torch.zeros(2, *image_shape))
    return Estimate(fixed, max(0, four - two) // 2, (3 if trained else 1) * counter.get_total_flops() // 2)


def speed(device: torch.device, size: int = 1024) -> float:
    """Return the operations per second of a matrix product, in float32, on a device."""
    matrix = torch.ones(size, size, device=device)
    seconds = []
    for _ in range(4):
        began = _clock(device)
        matrix @ matrix
        seconds.append(_clock(device) - began)
    return 2 * size**3 / min(seconds)


@final
class StepClock(Callback):
    """Measures the steps of two short epochs, the validation behind the second, and what else ends an epoch.

    Raises:
        Measured: At the start of a third epoch: all is known.
    """

    def __init__(self) -> None:
        self.steps: list[float] = []  # seconds from the end of one to the end of the next
        self.labels: list[Tensor] = []
        self.epoch_end = 0.0  # seconds of the second epoch beyond its steps
        self.validation = 0.0  # seconds of these that the validation took
        self._epochs = 0
        self._began = self._step = self._validating = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an epoch, or end all."""
        now = _clock(pl_module.device)
        if self._epochs == 2:
            self.epoch_end = max(0.0, now - self._step)
            raise Measured
        self._epochs += 1
        self._step = now

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the time of a step."""
        now = _clock(pl_module.device)
        self.steps.append(now - self._step)
        self._step = now
        self.labels.append(getattr(batch, "labels", torch.zeros(0)).detach().cpu())

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a validation."""
        self._validating = _clock(pl_module.device)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End it."""
        self.validation = _clock(pl_module.device) - self._validating

    @property
    def step(self) -> float:
        """Seconds of a step once the first two are over; the first of an epoch waits for its loader."""
        warm = self.steps[2:] or self.steps
        return statistics.median(warm)


class Measured(Exception):  # noqa: N818
    """All that was to be measured has been."""


def triplets(labels: Tensor) -> int:
    """Return how many triplets a batch holds: Σ over its images of positives times negatives.

    Args:
        labels: (B,).

    Example:
        >>> triplets(torch.tensor([0, 0, 1]))
        2
    """
    counts = labels.unique(return_counts=True)[1]
    return int((counts * (counts - 1) * (len(labels) - counts)).sum())


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that this process has held, on a GPU there, else in all."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def available_memory(device: torch.device) -> int:
    """Return the bytes that a training may use: a GPU's, or what this machine has left and this process holds."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
            left = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return sys.maxsize
    return left + peak_memory(device)


def check_fits(found: Estimate, held: int, at_once: int, batch_size: int, limit: int, chunks: bool) -> None:
    """Refuse a step that would not fit, before it is tried.

    Args:
        found: The estimate.
        held: Bytes that the process holds already.
        at_once: Images that pass the encoder at once.
        batch_size: Images of a step.
        limit: Bytes there are.
        chunks: Whether the module can pass a batch in chunks.

    Raises:
        UserError: It would not; names the key, and the size that fits.

    Example:
        >>> check_fits(Estimate(2**20, 2**20, 0), 0, 64, 64, 11 * 2**20, chunks=True)
        Traceback (most recent call last):
        ...
        dml.errors.UserError: a step of 64 images needs about 65 MiB and there are 11 MiB: give --model.chunk_size 10...
    """
    needed = held + found.memory(at_once)
    if needed <= limit:
        return
    told = f"a step of {batch_size} images needs about {mib(needed)} and there are {mib(limit)}"
    fits = found.fitting(limit - held)
    if fits < 1:
        raise UserError(f"{told}, which is below a step of one image: give more memory, or a smaller encoder")
    mend = f"--model.chunk_size {fits} (the same gradient) or --data.batch_size {fits}"
    raise UserError(f"{told}: give {mend if chunks else f'--data.batch_size {fits}'}")


def mib(size: float) -> str:
    """Return bytes in MiB, or in GiB from one on.

    Example:
        >>> mib(3 * 2**20), mib(3 * 2**29)
        ('3 MiB', '1.5 GiB')
    """
    return f"{size / _MIB:.0f} MiB" if size < 1024 * _MIB else f"{size / 1024 / _MIB:.1f} GiB"


def seconds(value: float) -> str:
    """Return a duration in a unit that suits it.

    Example:
        >>> seconds(0.0123), seconds(75), seconds(9000)
        ('12.3 ms', '75 s', '2.5 h')
    """
    if value < 1:
        return f"{1000 * value:.3g} ms"
    if value < 200:
        return f"{value:.3g} s"
    return f"{value / 60:.3g} min" if value < 7200 else f"{value / 3600:.3g} h"


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _kept(encoder: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the bytes that the backward pass of a batch keeps, beside the weights."""
    own = {weight.untyped_storage().data_ptr() for weight in encoder.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        result = _pass(encoder, torch.zeros(shape))
    size = sum(kept.values())
    del result  # until here it keeps the storages apart
    return size


def _pass(encoder: nn.Module, images: Tensor) -> Tensor:
    """Return what an encoder makes of images, which it does not learn from: its statistics stay."""
    training = encoder.training
    encoder.eval()
    try:
        device = next((weight.device for weight in encoder.parameters()), torch.device("cpu"))
        result: Tensor = encoder(images.to(device))
        return result
    finally:
        encoder.train(training)


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def epochs_of(max_epochs: int | None, max_steps: int, steps: int) -> int:
    """Return how many epochs a training has, by what ends it first.

    Example:
        >>> epochs_of(30, -1, 20), epochs_of(None, 50, 20)
        (30, 3)
    """
    by_steps = math.ceil(max_steps / max(1, steps)) if max_steps > 0 else sys.maxsize
    return min(by_steps, max_epochs if max_epochs is not None and max_epochs > 0 else sys.maxsize)
