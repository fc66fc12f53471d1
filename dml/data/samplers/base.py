"""A sampler: which training images go into which batch of an epoch, and which of them are this process's.

The batches are a function of (seed, epoch), the same for any number of processes, which share each of them: two
processes with 60 images each take the step that one takes with 120. So a resume needs to know (seed, epoch, position)
and nothing else, whatever the number of processes was before.
"""

from abc import ABC, abstractmethod
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dml.errors import UserError

Rows = list[NDArray[np.int64]]


def join_leftover(rows: Rows, ranks: int) -> Rows:
    """Join the last batch to the one before it, if it has fewer than two samples for each process.

    A loss compares images, and BatchNorm needs two.

    Example:
        >>> [len(row) for row in join_leftover([np.arange(4), np.arange(4), np.arange(1)], ranks=1)]
        [4, 5]
    """
    if len(rows) > 1 and len(rows[-1]) < 2 * ranks:
        return [*rows[:-2], np.concatenate(rows[-2:])]
    return rows


class EpochBatches(ABC):
    """The batches of an epoch as one of several processes sees them; `set_epoch` chooses the epoch.

    Of the n samples of a batch the process gets every ranks-th, from its own number on.

    Args:
        seed: Of the order.
        rank: This process.
        ranks: Number of processes.

    Raises:
        UserError: From `rows`, where a batch has fewer than two samples for each process.
    """

    def __init__(self, seed: int, rank: int, ranks: int) -> None:
        self.seed = seed
        self.rank = rank
        self.ranks = ranks
        self.epoch = 0
        self._laid_out: tuple[int, Rows] | None = None  # of the last epoch asked for: its length is asked for often

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this at the start of each."""
        self.epoch = epoch

    @abstractmethod
    def layout(self, epoch: int) -> Rows:
        """Return the batches of an epoch in order, each an array of positions, of all processes together."""

    def rows(self) -> Rows:
        """Return this process's share of the batches of the current epoch."""
        return self._share(self._rows())

    def addresses(self) -> Rows:
        """Return the number of each sample of `rows` in the whole epoch: the address of its transform's noise."""
        ends = np.cumsum([0, *(len(row) for row in self._rows())])
        return self._share([np.arange(start, end) for start, end in pairwise(ends)])

    def __len__(self) -> int:
        return len(self.rows())

    def _rows(self) -> Rows:
        if self._laid_out is None or self._laid_out[0] != self.epoch:
            self._laid_out = self.epoch, self.layout(self.epoch)
        return self._laid_out[1]

    def _share(self, rows: Rows) -> Rows:
        smallest = min(map(len, rows))
        if self.ranks > 1 and smallest < 2 * self.ranks:
            raise UserError(
                f"a batch of {smallest} images for {self.ranks} processes: at least two images each are needed; "
                "raise data.batch_size, or train with fewer devices"
            )
        return [row[self.rank :: self.ranks] for row in rows]
