"""Random numbers by address: a pure function of (seed, epoch, position), the same on every device and process.

A counter is mixed with whole-number arithmetic (Steele, Lea, Flood: "Fast splittable
pseudorandom number generators", 2014, the variant known as splitmix64), so there is no state to carry or to lose.
Code of other libraries draws from global generators instead: these are seeded by address while it runs.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def _signed(value: int) -> int:
    """Read 64 bits as torch's int64 does."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _mix(bits: Tensor) -> Tensor:
    """Scramble int64 numbers so that neighbouring counters give unrelated bits; overflow wraps as meant."""
    for shift, factor in _MIX:
        bits = (bits ^ _shift_right(bits, shift)) * _signed(factor)
    return bits ^ _shift_right(bits, 31)


def _shift_right(bits: Tensor, shift: int) -> Tensor:
    """Shift without dragging the sign along."""
    return (bits >> shift) & ((1 << (64 - shift)) - 1)


def mix_seed(*parts: int) -> int:
    """Fold whole numbers into one seed of 63 bits; different parts give unrelated seeds.

    Example:
        >>> mix_seed(0, 1) != mix_seed(1, 0)
        True
    """
    state = torch.zeros((), dtype=torch.int64)
    for part in parts:
        state = _mix(state + _signed(_GAMMA * 2 + part))
    return int(state) & (_MASK >> 1)


def uniforms(seed: int, epoch: int, positions: Tensor, count: int) -> Tensor:
    """Draw uniform numbers for samples by their address.

    Args:
        seed: any whole number.
        epoch: any whole number.
        positions: int64 (B,), address of each sample within the epoch.
        count: how many numbers each sample needs.

    Returns:
        float32 (B, count) within [0, 1), on the device of `positions`; equal to the bit on every device.

    Example:
        >>> a = uniforms(0, 3, torch.tensor([5, 9]), 4)
        >>> torch.equal(a[1:], uniforms(0, 3, torch.tensor([9]), 4))
        True
    """
    key = mix_seed(seed, epoch)
    slots = torch.arange(1, count + 1, device=positions.device) * _signed(_GAMMA)
    streams = _mix(positions.to(torch.int64) * _signed(_GAMMA) + key)
    bits = _mix(streams[:, None] + slots)  # (B, count)
    return _shift_right(bits, 40).to(torch.float32) / (1 << 24)


def normals(seed: int, epoch: int, positions: Tensor, count: int) -> Tensor:
    """Draw standard normal numbers for samples by their address, by the inverse of the normal distribution function.

    Args:
        seed: any whole number.
        epoch: any whole number.
        positions: int64 (B,), address of each sample within the epoch.
        count: how many numbers each sample needs.

    Returns:
        float32 (B, count), within ±5.4, on the device of `positions`.

    Example:
        >>> normals(0, 0, torch.tensor([7]), 3).shape
        torch.Size([1, 3])
    """
    centres = uniforms(seed, epoch, positions, count).double() + 2.0**-25  # within (0, 1): neither end is drawn
    normal: Tensor = torch.special.ndtri(centres)
    return normal.float()


@contextmanager
def forked_generators(device: torch.device) -> Iterator[None]:
    """Put the global generators of Python, numpy and torch (CPU and `device`) back as they were, on leaving.

    Example:
        >>> before = torch.get_rng_state()
        >>> with forked_generators(torch.device("cpu")):
        ...     seed_generators(3, torch.device("cpu"))
        >>> torch.equal(before, torch.get_rng_state())
        True
    """
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  other libraries draw from it
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the global generators of Python, numpy and torch (CPU and `device`); call it within `forked_generators`."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
