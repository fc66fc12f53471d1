"""Decodes a batch of images and says which cannot be read; no torch here."""

import os
import re
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dml.data.catalog import Reader
from dml.data.images.decode import decode_image
from dml.errors import reason_of


class DecodedRows(NamedTuple):
    """A batch of images: `positions` (B,), `images` uint8 (B,C,H,W), `sizes` (B,2) as they were, why others failed."""

    positions: NDArray[np.int64]
    images: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    failures: dict[int, str]


def decode_rows(reader: Reader, row: NDArray[np.int64], size: tuple[int, int], channels: Literal[1, 3]) -> DecodedRows:
    """Decode images to one size; those that cannot be read are left out and reported.

    Args:
        reader: Reads image i.
        row: (n,) positions of images.
        size: (height, width) they are brought to.
        channels: 1 (grey) or 3 (RGB).

    Example:
        >>> pixels = np.zeros((3, 4, 6), np.uint8)
        >>> batch = decode_rows(pixels.__getitem__, np.array([2, 0, 9]), (2, 2), 1)
        >>> batch.positions, batch.images.shape, batch.sizes[0], list(batch.failures)
        (array([2, 0]), (2, 1, 2, 2), array([4, 6], dtype=int32), [9])
    """
    images, sizes, read, failures = [], [], [], {}
    for position in row.tolist():
        try:
            raw = reader(position)
            height, width = (raw.height, raw.width) if isinstance(raw, Image.Image) else raw.shape[:2]
            images.append(decode_image(raw, size, channels))
        except Exception as error:  # damaged files make Pillow stumble in many ways
            failures[position] = re.sub(r" <_io\.[^>]*>", "", reason_of(error))
        else:
            sizes.append((height, width))
            read.append(position)
    pixels = np.stack(images) if images else np.empty((0, channels, *size), np.uint8)
    return DecodedRows(np.array(read, np.int64), pixels, np.array(sizes, np.int32).reshape(-1, 2), failures)


def usable_cores() -> int:
    """Count the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux: fewer than the machine has where a scheduler shares it out
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
