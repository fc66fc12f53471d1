"""Serves uint8 images by position: from one tensor in memory, or decoded on the way. Knows no labels and no epochs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dml.data.decode import decode_image
from dml.data.samples import Samples
from dml.errors import UserError

Size = tuple[int, int]
Rows = list[NDArray[np.int64]]


class Pixels(Protocol):
    """Serves uint8 (B, C, H, W) for lists of positions."""

    shape: tuple[int, int, int]

    def batches(self, rows: Rows) -> Iterator[Tensor]:
        """Yield one uint8 tensor (B, C, H, W) for every row of positions."""
        ...


class MemoryPixels:
    """All images in one uint8 tensor (N, C, H, W); a batch is one gather on its device.

    Example:
        >>> pixels = MemoryPixels(torch.arange(8, dtype=torch.uint8).view(2, 1, 2, 2))
        >>> next(pixels.batches([np.array([1])]))[0, 0, 0]
        tensor([4, 5], dtype=torch.uint8)
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.shape = (images.shape[1], images.shape[2], images.shape[3])

    def batches(self, rows: Rows) -> Iterator[Tensor]:
        """Gather row by row."""
        for row in rows:
            yield self.images[torch.from_numpy(row).to(self.images.device)]


def read_image(samples: Samples, index: int, size: Size | None, channels: Literal[1, 3]) -> NDArray[np.uint8]:
    """Read and decode one image.

    Raises:
        UserError: it cannot be read; names it, says why and what to do.
    """
    try:
        return decode_image(samples.reader(index), size, channels)
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"image '{samples.names[index]}' cannot be read ({reason}): mend or remove it, or pass --data.on_error skip"
        ) from error


def native_size(samples: Samples, channels: Literal[1, 3]) -> Size:
    """Size of the first readable image: what all are brought to when no image_size is given."""
    error: UserError | None = None
    for index in range(len(samples)):
        try:
            _, height, width = read_image(samples, index, None, channels).shape
        except UserError as found:
            error = error or found
        else:
            return height, width
    raise error or UserError("no image to read: give a source that holds some")


def decode_all(
    samples: Samples,
    size: Size,
    channels: Literal[1, 3],
    threads: int,
    skip: bool,
) -> tuple[NDArray[np.uint8], list[int]]:
    """Decode every image of a source into one array.

    Args:
        samples: the catalogue.
        size: (height, width).
        channels: 1 or 3.
        threads: decode side by side; the result does not depend on it.
        skip: leave unreadable images black and list them, instead of raising at the first.

    Returns:
        uint8 (N, C, H, W) and the positions of unreadable images.

    Raises:
        UserError: an image cannot be read and skip is off.
    """
    out = np.zeros((len(samples), channels, *size), dtype=np.uint8)

    def fill(index: int) -> int | None:
        try:
            out[index] = read_image(samples, index, size, channels)
        except UserError:
            if not skip:
                raise
            return index
        return None

    with ThreadPoolExecutor(max(1, threads)) as pool:
        try:
            failed = list(pool.map(fill, range(len(samples))))
        except UserError:
            pool.shutdown(cancel_futures=True)
            raise
    return out, [index for index in failed if index is not None]
