"""Every sample once, in the order of the source: batches for validation, test and prediction."""

import numpy as np

from dml.data.samplers.base import EpochBatches, Rows


class OrderedBatches(EpochBatches):
    """Every sample once, in order, the batches dealt to the processes in turn.

    With fewer batches than processes, some see one that others see too.

    Example:
        >>> [row.tolist() for row in OrderedBatches(5, batch_size=2).rows()]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(self, count: int, batch_size: int, rank: int = 0, ranks: int = 1) -> None:
        super().__init__(0, rank, ranks)
        self.count = count
        self.batch_size = batch_size

    def layout(self, epoch: int) -> Rows:
        """Cut 0..count-1 into batches."""
        starts = range(0, self.count, self.batch_size)
        rows = [np.arange(start, min(start + self.batch_size, self.count)) for start in starts]
        return rows + rows[:1] * (self.ranks - len(rows))  # loops and collectives need a batch on every rank

    def _share(self, rows: Rows) -> Rows:
        """Deal whole batches: every sample is embedded within the batch that one process alone would form."""
        return rows[self.rank :: self.ranks]
