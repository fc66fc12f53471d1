"""Decodes images batch by batch, a few ahead, and says which cannot be read; nothing is kept."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dml.data.catalog import Reader
from dml.data.images.batch import decode_rows


class Decoded(NamedTuple):
    """A batch of images.

    Attributes:
        positions: int64 (B,) of those that could be read.
        images: uint8 (B,C,H,W).
        sizes: int32 (B,2), their heights and widths in pixels as they were.
        failures: Why others could not be read, by position.
    """

    positions: NDArray[np.int64]
    images: Tensor
    sizes: NDArray[np.int32]
    failures: dict[int, str]


class _Batches(Dataset[Decoded]):
    def __init__(self, reader: Reader, size: tuple[int, int], channels: Literal[1, 3]) -> None:
        self.reader, self.size, self.channels = reader, size, channels

    def __getitem__(self, row: NDArray[np.int64]) -> Decoded:
        rows = decode_rows(self.reader, row, self.size, self.channels)
        return Decoded(rows.positions, torch.from_numpy(rows.images), rows.sizes, rows.failures)


def stream_images(
    reader: Reader,
    positions: NDArray[np.int64],
    size: tuple[int, int],
    channels: Literal[1, 3],
    batch_size: int = 256,
    workers: int = 0,
) -> Iterator[Decoded]:
    """Yield images in the order given, decoded by worker processes.

    Args:
        reader: Reads image i.
        positions: (n,) of the images.
        size: (height, width) they are brought to.
        channels: 1 (grey) or 3 (RGB).
        batch_size: Images at a time.
        workers: Processes; 0 decodes in this one. What is yielded does not depend on it.

    Example:
        >>> pixels = np.zeros((3, 4, 4), np.uint8)
        >>> [batch.positions.tolist() for batch in stream_images(pixels.__getitem__, np.arange(3), (2, 2), 1, 2)]
        [[0, 1], [2]]
    """
    rows: Sequence[NDArray[np.int64]] = [
        positions[start : start + batch_size] for start in range(0, len(positions), batch_size)
    ]
    workers = workers if len(rows) > 1 else 0
    loader = DataLoader(
        _Batches(reader, size, channels),
        batch_size=None,
        sampler=rows,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        generator=torch.Generator(),
    )
    yield from loader
