"""What a step should take, from the sizes of the model and a forward pass: told, or refused, before one is tried."""

import sys
import time
from dataclasses import dataclass
from typing import final

import torch
from lightning.pytorch.plugins.precision import Precision
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from dml.errors import UserError
from dml.experiments.plan.units import mib


@final
@dataclass(frozen=True)
class Estimate:
    """What a step should take, from the sizes of the model alone.

    Args:
        fixed_bytes: Weights, their gradients and the optimiser's two copies (Adam).
        image_bytes: What the backward pass keeps of one image.
        passes: What a step takes of forward passes: three where there is something to learn, one where not.
    """

    fixed_bytes: int
    image_bytes: int
    passes: int = 3

    def memory(self, images: int) -> int:
        """Return the bytes of a step of so many images at once."""
        return self.fixed_bytes + images * self.image_bytes

    def fitting(self, limit: int) -> int:
        """Return the most images whose step takes no more than `limit` bytes; 0 where not one fits."""
        return max(0, (limit - self.fixed_bytes) // max(1, self.image_bytes))


def network_of(module: nn.Module) -> nn.Module:
    """Return what the images of a step pass: the encoder of a module, and its head or decoder where it has one.

    Example:
        >>> module = nn.ModuleDict({"encoder": nn.Flatten(), "head": nn.Linear(4, 2)})
        >>> module.encoder, module.head = module["encoder"], module["head"]
        >>> network_of(module)(torch.zeros(3, 1, 2, 2)).shape
        torch.Size([3, 2])
    """
    parts = [getattr(module, name, None) for name in ("encoder", "head", "decoder")]
    return nn.Sequential(*(part for part in parts if isinstance(part, nn.Module)))


def estimate(network: nn.Module, image_shape: tuple[int, ...]) -> Estimate:
    """Estimate a step by passing two and four images, on the processor.

    Args:
        network: images (B,C,H,W) -> anything; its sizes are known.
        image_shape: (C,H,W).

    Example:
        >>> estimate(nn.Linear(10, 4, bias=False), (10,))  # 40 weights four times; 10 numbers of an image
        Estimate(fixed_bytes=640, image_bytes=40, passes=3)
    """
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    fixed = sum(_bytes(weight) for weight in network.parameters()) + 3 * sum(map(_bytes, trained))
    two, four = (_kept(network, (images, *image_shape)) for images in (2, 4))
    return Estimate(fixed, max(0, four - two) // 2, 3 if trained else 1)


def forward_seconds(
    network: nn.Module, images: Tensor, device: torch.device, precision: Precision, learning: bool
) -> float:
    """Return the seconds of a forward pass, the better of two.

    Args:
        network: moves to the device.
        images: (B,C,H,W) on any device.
        device: that trains.
        precision: of the training.
        learning: whether as in training, or as in evaluation.
    """
    network.to(device)
    images = images.to(device)
    measured = []
    for _ in range(2):
        began = clock(device)
        with torch.no_grad(), precision.forward_context():
            _pass(network, images, learning)
        measured.append(clock(device) - began)
    return min(measured)


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
        >>> check_fits(Estimate(2**20, 2**20), 0, 64, 64, 11 * 2**20, chunks=True)
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


def clock(device: torch.device) -> float:
    """Return the time in seconds, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _kept(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the bytes that the backward pass of a batch keeps, beside the weights."""
    own = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        result = _pass(network, torch.zeros(shape))
    size = sum(kept.values())
    del result  # until here it keeps the storages apart
    return size


def _pass(network: nn.Module, images: Tensor, learning: bool = True) -> Tensor:
    """Return what a network makes of images, from which it learns nothing: its statistics stay, as do later draws."""
    training, kept = network.training, [buffer.clone() for buffer in network.buffers()]
    network.train(learning)
    try:
        device = next((weight.device for weight in network.parameters()), images.device)
        with torch.random.fork_rng(devices=[]):
            result: Tensor = network(images.to(device))
        return result
    finally:
        with torch.no_grad():
            for buffer, value in zip(network.buffers(), kept, strict=True):
                if buffer.shape == value.shape:  # else its size was open
                    buffer.copy_(value)
        network.train(training)
