"""What a loader yields."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dml.errors import UserError


class Batch(NamedTuple):
    """Images with their labels and their addresses.

    Attributes:
        images: float32 (B, C, H, W), normalised; (B, 0, 0, 0) where embeddings stand in their place.
        labels: int64 (B,), index into the data's class names.
        ids: int64 (B,), position of the sample in its source; unique per sample, the same for every split and epoch.
        embeddings: (B, D) of a frozen encoder that was run before, on these unaugmented images; None: see the images.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor
    embeddings: Tensor | None = None


def as_batch(batch: Any, first_id: int = 0, step: int = 1) -> Batch:
    """Return a `Batch` of what any torch DataLoader of (images, labels) yields.

    Args:
        batch: A `Batch`, returned as it is, or a pair of tensors; further entries are passed over.
        first_id: The id of the first sample of a pair.
        step: From each sample's id to the next one's.

    Raises:
        UserError: It is something else.

    Example:
        >>> as_batch((torch.zeros(2, 1, 4, 4), torch.tensor([0, 1])), first_id=6).ids
        tensor([6, 7])
    """
    if isinstance(batch, Batch):
        return batch
    if not isinstance(batch, tuple | list) or len(batch) < 2 or not all(isinstance(x, Tensor) for x in batch[:2]):
        raise UserError(
            f"a loader yields {type(batch).__name__}, not (images, labels): wrap its data set to give pairs"
        )
    images, labels = batch[:2]
    return Batch(images, labels, first_id + step * torch.arange(len(labels), device=labels.device))
