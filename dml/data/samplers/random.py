"""Batches drawn at random: every sample once per epoch."""

import numpy as np

from dml.data.samplers.base import EpochBatches, Rows, join_leftover
from dml.data.transforms.random import mix_seed
from dml.errors import UserError


def random_batches(count: int, batch_size: int, seed: int, epoch: int, ranks: int = 1, drop_last: bool = False) -> Rows:
    """Shuffle and cut into batches; every sample once per epoch.

    What is left over after the full batches is a last, smaller batch; one too small for two samples per process joins
    the batch before it.

    Args:
        count: number of samples.
        batch_size: samples per batch, of all processes together.
        seed: any whole number.
        epoch: epoch number; another shuffle each.
        ranks: number of processes that share each batch.
        drop_last: leave the leftover out this epoch (another one next epoch).

    Returns:
        rows of positions within 0..count-1.

    Raises:
        UserError: fewer samples than one batch needs.

    Example:
        >>> [len(row) for row in random_batches(10, 4, seed=0, epoch=0)]
        [4, 4, 2]
    """
    if count < 2 * ranks:
        raise UserError(f"{count} training images for {ranks} process(es): at least two images each are needed")
    order = np.random.default_rng(mix_seed(seed, epoch)).permutation(count)
    rows = [order[start : start + batch_size] for start in range(0, count, batch_size)]
    if drop_last and len(rows) > 1 and len(rows[-1]) < batch_size:
        return rows[:-1]
    return join_leftover(rows, ranks)


class RandomBatches(EpochBatches):
    """`random_batches` as a sampler.

    Example:
        >>> len(RandomBatches(100, batch_size=50, seed=0))
        2
    """

    def __init__(
        self, count: int, batch_size: int, seed: int, drop_last: bool = False, rank: int = 0, ranks: int = 1
    ) -> None:
        super().__init__(seed, rank, ranks)
        self.count = count
        self.batch_size = batch_size
        self.drop_last = drop_last

    def layout(self, epoch: int) -> Rows:
        """Shuffle and cut."""
        return random_batches(self.count, self.batch_size, self.seed, epoch, self.ranks, self.drop_last)
