"""Batches drawn at random: every sample once per epoch."""

import numpy as np

from dml.data.samplers.base import EpochBatches, Rows
from dml.data.transforms.random import mix_seed
from dml.errors import UserError


def random_batches(count: int, batch_size: int, seed: int, epoch: int, ranks: int = 1, drop_last: bool = False) -> Rows:
    """Shuffle and cut into batches; every sample once per epoch.

    What is left over after full batches for every rank is shared evenly by the ranks as one last, smaller batch each;
    a leftover too small for two samples per rank joins the batches before it.

    Args:
        count: number of samples.
        batch_size: samples per batch and rank.
        seed: any whole number.
        epoch: epoch number; another shuffle each.
        ranks: the number of rows is a multiple of it, so that no process waits for another.
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
    full = count // (batch_size * ranks) * ranks
    rows = [order[i * batch_size : (i + 1) * batch_size] for i in range(full)]
    rest = order[full * batch_size :]
    if drop_last and full:
        return rows
    if len(rest) >= 2 * ranks or not full:
        return rows + np.array_split(rest, ranks)
    tail = zip(rows[-ranks:], np.array_split(rest, ranks), strict=True)
    return rows[:-ranks] + [np.concatenate(pair) for pair in tail]


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
