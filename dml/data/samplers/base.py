"""A sampler: which training images stand in which batch of an epoch, dealt to the processes.

The batches of all processes are laid out together, as a function of (seed, epoch), and dealt to the ranks in turn. So a
resume needs to know (seed, epoch, position) and nothing else.
"""

from abc import ABC, abstractmethod
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Rows = list[NDArray[np.int64]]


class EpochBatches(ABC):
    """The batches of an epoch on one of several processes; `set_epoch` chooses the epoch.

    Args:
        seed: Of the order.
        rank: This process.
        ranks: Number of processes.
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
        """Return the batches of all ranks in order, each an array of positions; as many for every rank."""

    def _rows(self) -> Rows:
        if self._laid_out is None or self._laid_out[0] != self.epoch:
            self._laid_out = self.epoch, self.layout(self.epoch)
        return self._laid_out[1]

    def rows(self) -> Rows:
        """Return this rank's batches of the current epoch."""
        return self._rows()[self.rank :: self.ranks]

    def addresses(self) -> Rows:
        """Return the number of each sample of `rows` in the whole epoch: where the noise of its transform is drawn."""
        lengths = [len(row) for row in self._rows()]
        ends = np.cumsum([0, *lengths])
        return [np.arange(start, end) for start, end in pairwise(ends)][self.rank :: self.ranks]

    def __len__(self) -> int:
        return len(self.rows())


def fill_up(rows: Rows, ranks: int) -> Rows:
    """Repeat the first batches until every rank has as many: loops and collectives need a batch on every rank.

    Example:
        >>> len(fill_up([np.arange(2)] * 5, ranks=4))
        8
    """
    return rows + [rows[i % len(rows)] for i in range(-len(rows) % ranks)]
