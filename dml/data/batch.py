"""The batches that loaders yield."""

from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from dml.errors import UserError
from dml.functional.distributed import rank, world_size


class Batch(NamedTuple):
    """Images with their labels and their addresses.

    Attributes:
        images: float32 (B, C, H, W), normalised; (B, 0, 0, 0) where embeddings stand in their place.
        labels: int64 (B,), index into the data's class names.
        ids: int64 (B,), position of the sample in its source; unique per sample, the same for every split and epoch.
        embeddings: (B, D) of a frozen encoder that was run before, on these untransformed images; None: see the images.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor
    embeddings: Tensor | None = None


@final
class BatchNumbering:
    """Turns what any torch DataLoader of (images, labels) yields into `Batch`es, ids given in the order they come.

    Samples of different loaders are different samples; where several processes each see a share, as Lightning's
    distributed sampler deals it, ids are those of one process that sees all.

    Args:
        loader: The number of the loader.

    Example:
        >>> number = BatchNumbering()
        >>> pair = torch.zeros(2, 1, 4, 4), torch.tensor([0, 1])
        >>> number(pair).ids, number(pair).ids
        (tensor([0, 1]), tensor([2, 3]))
    """

    def __init__(self, loader: int = 0) -> None:
        self._first = loader << 40
        self._served = 0

    def __call__(self, batch: Any) -> Batch:
        """Return a `Batch`, as it is, or made from a pair of tensors; further entries are ignored.

        Raises:
            UserError: It is neither.
        """
        if isinstance(batch, Batch):
            return batch
        if not isinstance(batch, tuple | list) or len(batch) < 2 or not all(isinstance(x, Tensor) for x in batch[:2]):
            raise UserError(
                f"a loader yields a {type(batch).__name__}, not (images, labels): have its data set give pairs"
            )
        images, labels = batch[:2]
        places = self._served + torch.arange(len(labels), device=labels.device)
        self._served += len(labels)
        return Batch(images, labels, self._first + world_size() * places + rank())
