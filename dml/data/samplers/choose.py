"""Chooses the sampler of training: random or class-balanced batches, or one that is named by its class_path."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dml.data.samplers.base import EpochBatches
from dml.data.samplers.class_balanced import ClassBalancedBatches, check_balanced
from dml.data.samplers.random import RandomBatches
from dml.data.samplers.wrapped import SamplerCallable, WrappedSampler
from dml.errors import UserError


def training_batches(
    labels: NDArray[np.int64],
    batch_size: int,
    classes_per_batch: int | Literal["auto"] | None,
    drop_last: bool,
    seed: int,
    rank: int = 0,
    ranks: int = 1,
    sampler: SamplerCallable | None = None,
) -> EpochBatches:
    """Choose the batches of training.

    Args:
        labels: int64 (N,) of the training samples.
        batch_size: samples per batch, of all processes together.
        classes_per_batch: distinct classes in a batch; "auto": all there are, or batch_size // 4 where that is less,
            with batch_size // classes images of each; None draws at random.
        drop_last: leave out the last, smaller batch; not of class-balanced batches, which are all full.
        seed: any whole number.
        rank: this process.
        ranks: number of processes.
        sampler: builds another sampler from the labels; None: ours.

    Raises:
        UserError: settings that are not possible, and how to fix them.

    Example:
        >>> training_batches(np.repeat(np.arange(4), 6), 9, 4, False, seed=0)
        Traceback (most recent call last):
        ...
        dml.errors.UserError: batch_size=9 is not a multiple of classes_per_batch=4: set batch_size to 8 or 12
    """
    if batch_size < 2:
        raise UserError(f"batch_size={batch_size}: a metric compares images; give at least 2")
    if not len(labels):
        raise UserError("the split has no training images: give a source or a split that has")
    if sampler is not None:
        if classes_per_batch is not None:
            raise UserError(
                "a sampler and classes_per_batch both choose the batches: "
                "set data.classes_per_batch to null, or leave data.sampler out"
            )
        return WrappedSampler(sampler, labels, batch_size, drop_last, seed, rank, ranks)
    if classes_per_batch is None:
        return RandomBatches(len(labels), batch_size, seed, drop_last, rank, ranks)
    members = np.unique(labels, return_counts=True)[1]
    classes = len(members)
    if classes < 2:
        raise UserError(
            "the training images are all of one class, and batches are to hold several: give images of other classes "
            "too, or set data.classes_per_batch to null"
        )
    if classes_per_batch == "auto":
        classes_per_batch = max(2, min(classes, batch_size // 4))
        batch_size -= batch_size % classes_per_batch
    each, rest = divmod(batch_size, max(1, classes_per_batch))
    if rest:
        each = max(2, each)
        raise UserError(
            f"batch_size={batch_size} is not a multiple of classes_per_batch={classes_per_batch}: "
            f"set batch_size to {each * classes_per_batch} or {(each + 1) * classes_per_batch}"
        )
    each = min(each, max(2, int(members.max())))  # more would repeat images and nothing else
    check_balanced(classes, classes_per_batch, each)
    return ClassBalancedBatches(labels, classes_per_batch, each, seed, rank, ranks)
