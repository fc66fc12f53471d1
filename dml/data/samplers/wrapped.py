"""Any torch sampler as a sampler of epochs: its draws become a function of (seed, epoch)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from dml.data.samplers.base import EpochBatches, Rows, join_leftover
from dml.data.transforms.random import forked_generators, mix_seed, seed_generators
from dml.errors import UserError

SamplerCallable = Callable[[NDArray[np.int64]], Sampler[Any]]
_FAILURES = (AssertionError, TypeError, ValueError, ArithmeticError, LookupError, RuntimeError)
_BUILT, _DRAWN = 0x5A, 0x5B  # keep the draws of the constructor and of the epochs apart


class WrappedSampler(EpochBatches):
    """The batches that any sampler yields, of this package or another.

    The sampler yields positions within 0..N-1, or lists of them, each a batch. Positions are cut into batches of the
    sampler's own `batch_size` where it has that attribute, else of `batch_size`; what is left over joins the batch
    before it where it is too little for two samples per process. What it draws from the global generators of torch,
    numpy and Python is seeded by (seed, epoch), and these generators are left as they were found. It is built anew for
    every epoch, always with the same draws: what an epoch changes in the sampler does not reach the next one, so that a
    resumed run sees the batches of an unbroken one. A method `set_epoch` is called.

    Args:
        sampler: Builds the sampler from the labels (N,) of the training images.
        labels: int64 (N,).
        batch_size: Samples per batch, of all processes together.
        drop_last: Leave out the last batch where it is smaller, of a sampler that yields positions.
        seed: Any whole number.
        rank: This process.
        ranks: Number of processes.

    Raises:
        UserError: From `rows`, where the sampler cannot be built, yields nothing, or something else than positions.

    Example:
        >>> from torch.utils.data import RandomSampler
        >>> batches = WrappedSampler(RandomSampler, np.zeros(10, dtype=np.int64), batch_size=4, drop_last=False, seed=0)
        >>> [len(row) for row in batches.rows()]
        [4, 4, 2]
    """

    def __init__(
        self,
        sampler: SamplerCallable,
        labels: NDArray[np.int64],
        batch_size: int,
        drop_last: bool,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        super().__init__(seed, rank, ranks)
        self.sampler = sampler
        self.labels = labels
        self.batch_size = batch_size
        self.drop_last = drop_last

    def layout(self, epoch: int) -> Rows:
        """Build the sampler, run it once, and cut what it yields."""
        device = torch.device("cpu")
        with forked_generators(device):
            seed_generators(mix_seed(self.seed, _BUILT), device)
            sampler = self._build()
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(epoch)
            seed_generators(mix_seed(self.seed, _DRAWN, epoch), device)
            try:
                found = list(sampler)
            except _FAILURES as error:
                raise UserError(f"data.sampler: {type(sampler).__name__} fails: {error}") from error
        rows = self._cut(sampler, found)
        if not rows:
            raise UserError(f"data.sampler: {type(sampler).__name__} yields no batch of {len(self.labels)} images")
        positions = np.concatenate(rows)
        wrong = (positions < 0) | (positions >= len(self.labels))
        if wrong.any():
            raise UserError(
                f"data.sampler: {type(sampler).__name__} yields position {int(positions[wrong][0])}, "
                f"and there are {len(self.labels)} training images: it must yield positions within 0..N-1"
            )
        return rows

    def _build(self) -> Sampler[Any]:
        try:
            return self.sampler(self.labels)
        except _FAILURES as error:
            raise UserError(f"data.sampler cannot be built for {len(self.labels)} training images: {error}") from error

    def _cut(self, sampler: Sampler[Any], found: list[Any]) -> Rows:
        name = type(sampler).__name__
        if found and np.ndim(found[0]) > 0:
            return [_positions(row, name) for row in found]
        positions = _positions(found, name) if found else np.zeros(0, dtype=np.int64)
        size = getattr(sampler, "batch_size", None) or self.batch_size
        rows = [positions[start : start + size] for start in range(0, len(positions), size)]
        if self.drop_last and len(rows) > 1 and len(rows[-1]) < size:
            return rows[:-1]
        return join_leftover(rows, self.ranks)


def _positions(row: Any, name: str) -> NDArray[np.int64]:
    positions = np.array([int(i) if isinstance(i, torch.Tensor) else i for i in row])
    if positions.ndim != 1 or positions.dtype.kind not in "iu":
        raise UserError(f"data.sampler: {name} yields {row!r:.60}, not whole numbers or lists of them")
    return positions.astype(np.int64)
