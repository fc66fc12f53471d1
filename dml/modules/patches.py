"""Gives whitened first layers their filters before training starts."""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from dml.data import LabelledData
from dml.data.handover import prepare_once
from dml.encoders import WhitenedPatches

_IMAGES = 5000  # about so many tell how patches vary


def whiten_patches(network: nn.Module, data: LabelledData) -> None:
    """Take the filters of whitened first layers from some untransformed training images; filters taken before stay.

    Args:
        network: With any number of `WhitenedPatches`.
        data: Set up.

    Example:
        >>> from dml.data import ImageData
        >>> data, network = ImageData(cache=False), nn.Sequential(WhitenedPatches())
        >>> data.setup()
        >>> whiten_patches(network, data)
        >>> network[0].filters.shape
        torch.Size([4, 1, 2, 2])
    """
    layers = [part for part in network.modules() if isinstance(part, WhitenedPatches) and not part.taken]
    if layers:
        ids = data.parts.train[:: max(1, len(data.parts.train) // _IMAGES)]
        for layer in layers:
            layer.take_filters(prepare_once(partial(_filters, layer, data, ids), data.trainer))


def _filters(layer: WhitenedPatches, data: LabelledData, ids: NDArray[np.int64]) -> Tensor:
    layer.take_patches(batch.images for batch in data.ordered_dataloader(ids))
    return layer.filters.cpu()
