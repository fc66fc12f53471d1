"""What a loader yields; knows nothing of where the images came from."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """Images with their labels and their addresses.

    Attributes:
        images: float32 (B, C, H, W), normalised; (B, 0, 0, 0) where embeddings stand in their place.
        labels: int64 (B,), index into `ImageData.class_names`.
        ids: int64 (B,), position of the sample in its source; unique per sample, the same for every split and epoch.
        embeddings: (B, D) of a frozen encoder that was run before, on these unaugmented images; None: see the images.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor
    embeddings: Tensor | None = None
