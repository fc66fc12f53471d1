"""The batches of an epoch as one process of several sees them. Knows layouts and ranks; no images, no trainer.

Ranks are dealt the rows of one layout in turn, so a resume needs to know (seed, epoch, position) and nothing else.
"""

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dml.data.samplers.layouts import Rows, balanced_batches, check_balanced, random_batches
from dml.errors import UserError


class Plan(ABC):
    """The batches of an epoch on one of several processes; `set_epoch` turns the page."""

    def __init__(self, seed: int, rank: int, ranks: int) -> None:
        self.seed = seed
        self.rank = rank
        self.ranks = ranks
        self.epoch = 0
        self._page: tuple[int, Rows] | None = None  # the epoch laid out last: its length is asked for often

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this at the start of each."""
        self.epoch = epoch

    @abstractmethod
    def layout(self, epoch: int) -> Rows:
        """Lay out the batches of all ranks, in order."""

    def _rows(self) -> Rows:
        if self._page is None or self._page[0] != self.epoch:
            self._page = self.epoch, self.layout(self.epoch)
        return self._page[1]

    def rows(self) -> Rows:
        """Deal this rank's batches of the current epoch."""
        return self._rows()[self.rank :: self.ranks]

    def addresses(self) -> Rows:
        """Give each sample of `rows` its number in the whole epoch: where its augmentation noise is drawn."""
        lengths = [len(row) for row in self._rows()]
        ends = np.cumsum([0, *lengths])
        return [np.arange(start, end) for start, end in pairwise(ends)][self.rank :: self.ranks]

    def __len__(self) -> int:
        return len(self.rows())


class OrderedPlan(Plan):
    """Every sample once, in order; where there are fewer batches than ranks, some ranks see one that others see too.

    Example:
        >>> [row.tolist() for row in OrderedPlan(5, batch_size=2).rows()]
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


class RandomPlan(Plan):
    """`random_batches` as a plan.

    Example:
        >>> len(RandomPlan(100, batch_size=50, seed=0))
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


class BalancedPlan(Plan):
    """`balanced_batches` as a plan.

    Example:
        >>> plan = BalancedPlan(np.repeat(np.arange(4), 6), classes_per_batch=4, images_per_class=3, seed=0)
        >>> [len(row) for row in plan.rows()]
        [12, 12]
    """

    def __init__(
        self,
        labels: NDArray[np.int64],
        classes_per_batch: int,
        images_per_class: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        super().__init__(seed, rank, ranks)
        self.labels = labels
        self.classes_per_batch = classes_per_batch
        self.images_per_class = images_per_class

    def layout(self, epoch: int) -> Rows:
        """Seat classes and deal their portions."""
        return balanced_batches(
            self.labels, self.classes_per_batch, self.images_per_class, self.seed, epoch, self.ranks
        )


def training_plan(
    labels: NDArray[np.int64],
    batch_size: int,
    classes_per_batch: int | Literal["auto"] | None,
    drop_last: bool,
    seed: int,
    rank: int = 0,
    ranks: int = 1,
) -> Plan:
    """Choose random or class-balanced batches.

    Args:
        labels: int64 (N,) of the training samples.
        batch_size: samples per batch and process.
        classes_per_batch: distinct classes in a batch; "auto": all there are, or batch_size // 4 where that is less,
            with batch_size // classes images of each; None draws at random.
        drop_last: of random batches.
        seed: any whole number.
        rank: this process.
        ranks: number of processes.

    Raises:
        UserError: settings that cannot be had, with the mend.

    Example:
        >>> training_plan(np.repeat(np.arange(4), 6), 9, 4, False, seed=0)
        Traceback (most recent call last):
        ...
        dml.errors.UserError: batch_size=9 is no multiple of classes_per_batch=4: set batch_size to 8 or 12
    """
    if batch_size < 2:
        raise UserError(f"batch_size={batch_size}: a metric compares images; give at least 2")
    if not len(labels):
        raise UserError("the split has no training images: give a source or a split that has")
    if classes_per_batch is None:
        return RandomPlan(len(labels), batch_size, seed, drop_last, rank, ranks)
    classes = len(np.unique(labels))
    if classes_per_batch == "auto":
        classes_per_batch = max(2, min(classes, batch_size // 4))
        batch_size -= batch_size % classes_per_batch
    each, rest = divmod(batch_size, max(1, classes_per_batch))
    if rest:
        each = max(2, each)
        raise UserError(
            f"batch_size={batch_size} is no multiple of classes_per_batch={classes_per_batch}: "
            f"set batch_size to {each * classes_per_batch} or {(each + 1) * classes_per_batch}"
        )
    check_balanced(classes, classes_per_batch, each)
    return BalancedPlan(labels, classes_per_batch, each, seed, rank, ranks)
