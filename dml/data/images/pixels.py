"""Serves uint8 images by position: from one tensor in memory, or decoded on demand."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dml.data.catalog import Catalog
from dml.data.images.cache import map_images
from dml.data.images.read import Size, read_images
from dml.data.rows import is_read_by_threads
from dml.errors import UserError

Row = NDArray[np.int64]
Served = TypeVar("Served")


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
        """Serve from a device, if there is room; what does not fit stays and is copied batch by batch."""
        ...


class MemoryPixels:
    """All images in one tensor (N, C, H, W), uint8 or float within 0..255; a batch is one gather on its device.

    Args:
        images: the tensor.
        file: a `.npy` file that holds the same, which another process of the machine maps instead of copying them.

    Example:
        >>> pixels = MemoryPixels(torch.arange(8, dtype=torch.uint8).view(2, 1, 2, 2))
        >>> pixels.get(np.array([1]))[0, 0, 0]
        tensor([4, 5], dtype=torch.uint8)
    """

    def __init__(self, images: Tensor, file: Path | None = None) -> None:
        self.images = images
        self.file = file
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
        return MemoryPixels(self.images.to(device), self.file)

    def __reduce__(self) -> tuple[Callable[..., "MemoryPixels"], tuple[Any, ...]]:
        return (_mapped, (self.file,)) if self.file is not None else (_held, (self.images.cpu().numpy(),))


def _mapped(file: Path) -> MemoryPixels:
    return MemoryPixels(torch.from_numpy(map_images(file)), file)


def _held(images: NDArray[Any]) -> MemoryPixels:
    return MemoryPixels(torch.from_numpy(images))


class _Rows(Dataset[Tensor | str]):
    """Decodes a row of images in a worker; an error travels as its message, a traceback would garble the line."""

    def __init__(self, catalog: Catalog, size: Size, channels: Literal[1, 3]) -> None:
        self.catalog, self.size, self.channels = catalog, size, channels

    def __getitem__(self, row: Row) -> Tensor | str:
        images = np.empty((len(row), self.channels, *self.size), dtype=np.uint8)
        for place, found in enumerate(read_images(self.catalog, row.tolist(), self.size, self.channels)):
            if isinstance(found, UserError):
                return str(found)
            images[place] = found
        return torch.from_numpy(images)


class _Failures(Dataset[list[int]]):
    """Tells which images of a row cannot be read."""

    def __init__(self, rows: _Rows) -> None:
        self.rows = rows

    def __getitem__(self, row: Row) -> list[int]:
        places, of = row.tolist(), self.rows
        found = read_images(of.catalog, places, of.size, of.channels)
        return [place for place, image in zip(places, found, strict=True) if isinstance(image, UserError)]


class FilePixels:
    """Images decoded on demand by workers, a few batches ahead; for sets that do not fit in memory.

    Args:
        catalog: what the source holds.
        size: (height, width).
        channels: 1 or 3.
        workers: processes (threads for tables, which forked processes cannot share); 0 decodes in this one. The images
            do not depend on it.
        pin: put batches into page-locked memory, from which a GPU copies while it computes.
        held: bytes that batches decoded ahead may take; at least one is; 0: four batches for every worker.
    """

    def __init__(
        self,
        catalog: Catalog,
        size: Size,
        channels: Literal[1, 3],
        workers: int = 0,
        pin: bool = False,
        held: int = 0,
    ) -> None:
        self.rows = _Rows(catalog, size, channels)
        self.shape: tuple[int, int, int] = (channels, *size)
        self.workers = workers
        self.pin = pin
        self.held = held

    def get(self, row: Row) -> Tensor:
        """Decode here and now."""
        return _images(self.rows[row])

    def batches(self, rows: list[Row]) -> Iterator[Tensor]:
        """Decode row by row in the workers, up to four batches ahead each."""
        images = map(_images, self._read(self.rows, rows))
        threads = is_read_by_threads(self.rows.catalog.reader)
        return (each.pin_memory() for each in images) if self.pin and threads else images

    def failures(self, rows: list[Row]) -> "Iterable[list[int]]":
        """Decode row by row in the workers and yield the positions of unreadable images in each."""
        return self._read(_Failures(self.rows), rows)

    def _read(self, read: Dataset[Served], rows: list[Row]) -> "Iterable[Served]":
        workers, ahead = self._ahead(max(map(len, rows), default=1))
        if is_read_by_threads(self.rows.catalog.reader):
            return read_ahead(read.__getitem__, rows, workers, workers * ahead)
        return DataLoader(
            read,
            batch_size=None,
            sampler=rows,
            num_workers=workers,
            prefetch_factor=ahead if workers else None,
            pin_memory=self.pin,
            generator=torch.Generator(),  # else it draws a seed from the generator that dropout draws from
        )

    def _ahead(self, largest: int) -> tuple[int, int]:
        """Return how many workers decode, and how many batches ahead each."""
        fitting = self.held // (largest * math.prod(self.shape)) if self.held else 4 * max(1, self.workers)
        workers = min(self.workers, max(1, fitting))
        return workers, max(1, min(4, fitting // max(1, workers)))

    def to(self, device: torch.device) -> Pixels:
        """Pin batches for a GPU."""
        rows = self.rows
        return FilePixels(rows.catalog, rows.size, rows.channels, self.workers, device.type == "cuda", self.held)


def read_ahead(read: Callable[[Row], Served], rows: Iterable[Row], workers: int, ahead: int) -> Iterator[Served]:
    """Yield what is read for each row, in order, by threads that are at most `ahead` rows ahead; 0 workers: by none.

    Example:
        >>> list(read_ahead(len, [np.arange(2), np.arange(5)], workers=2, ahead=3))
        [2, 5]
    """
    if not workers:
        yield from map(read, rows)
        return
    pool, waiting = ThreadPoolExecutor(workers), deque[Future[Served]]()
    try:
        for row in rows:
            waiting.append(pool.submit(read, row))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _images(served: Tensor | str) -> Tensor:
    if isinstance(served, str):
        raise UserError(served)
    return served
