"""Serves uint8 images by position: from one tensor in memory, or decoded on the way."""

from collections.abc import Iterator
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dml.data.catalog import Catalog
from dml.data.images.read import Size, read_image
from dml.errors import UserError

Row = NDArray[np.int64]


class Pixels(Protocol):
    """Serves uint8 images of one shape by their position in the source."""

    shape: tuple[int, int, int]

    def get(self, row: Row) -> Tensor:
        """Serve uint8 (B, C, H, W) for positions (B,)."""
        ...

    def batches(self, rows: list[Row]) -> Iterator[Tensor]:
        """Serve one tensor for every row of positions, in order."""
        ...

    def to(self, device: torch.device) -> "Pixels":
        """Serve from there on, where there is room; what does not fit stays and is copied batch by batch."""
        ...


class MemoryPixels:
    """All images in one tensor (N, C, H, W), uint8 or float within 0..255; a batch is one gather on its device.

    Example:
        >>> pixels = MemoryPixels(torch.arange(8, dtype=torch.uint8).view(2, 1, 2, 2))
        >>> pixels.get(np.array([1]))[0, 0, 0]
        tensor([4, 5], dtype=torch.uint8)
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.shape = (images.shape[1], images.shape[2], images.shape[3])

    def get(self, row: Row) -> Tensor:
        """Gather."""
        return self.images[torch.from_numpy(row).to(self.images.device)]

    def batches(self, rows: list[Row]) -> Iterator[Tensor]:
        """Gather row by row."""
        return map(self.get, rows)

    def to(self, device: torch.device) -> Pixels:
        """Move to the device, unless that would take more than half of the memory it has left."""
        if device.type == "cuda" and 2 * self.images.nbytes > torch.cuda.mem_get_info(device)[0]:
            return self
        return MemoryPixels(self.images.to(device))


class _Rows(Dataset[Tensor | str]):
    """Decodes a row of images in a worker; an error travels as its message, a traceback would garble the line."""

    def __init__(self, catalog: Catalog, size: Size, channels: Literal[1, 3]) -> None:
        self.catalog, self.size, self.channels = catalog, size, channels

    def __getitem__(self, row: Row) -> Tensor | str:
        try:
            return torch.from_numpy(np.stack([read_image(self.catalog, int(i), self.size, self.channels) for i in row]))
        except UserError as error:
            return str(error)


class FilePixels:
    """Images decoded on the way by worker processes, a few batches ahead; for sets that memory does not hold.

    Args:
        catalog: what the source holds.
        size: (height, width).
        channels: 1 or 3.
        workers: processes; 0 decodes in this one. The images do not depend on it.
        pin: put batches into page-locked memory, from which a GPU copies while it computes.
    """

    def __init__(
        self, catalog: Catalog, size: Size, channels: Literal[1, 3], workers: int = 0, pin: bool = False
    ) -> None:
        self.rows = _Rows(catalog, size, channels)
        self.shape: tuple[int, int, int] = (channels, *size)
        self.workers = workers
        self.pin = pin

    def get(self, row: Row) -> Tensor:
        """Decode here and now."""
        return _images(self.rows[row])

    def batches(self, rows: list[Row]) -> Iterator[Tensor]:
        """Decode row by row in the workers, up to four batches ahead each."""
        return map(_images, self.attempts(rows))

    def attempts(self, rows: list[Row]) -> "DataLoader[Tensor | str]":
        """Like `batches`, with the message of the error where a row holds an unreadable image."""
        return DataLoader(
            self.rows,
            batch_size=None,
            sampler=rows,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
            pin_memory=self.pin,
            generator=torch.Generator(),  # else it draws a seed from the generator that dropout draws from
        )

    def to(self, device: torch.device) -> Pixels:
        """Pin batches for a GPU."""
        return FilePixels(self.rows.catalog, self.rows.size, self.rows.channels, self.workers, device.type == "cuda")


def _images(served: Tensor | str) -> Tensor:
    if isinstance(served, str):
        raise UserError(served)
    return served
