"""Chooses between memory and files, and the cache between them. Knows a catalogue; no labels, no batches."""

import logging
import os
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dml.data.cache import cache_key, read_cache, write_cache
from dml.data.decoding import Size, bar, decode_all, native_size
from dml.data.pixels import FilePixels, MemoryPixels, Pixels
from dml.data.samples import Samples, whole_array
from dml.errors import UserError

logger = logging.getLogger(__name__)


def open_pixels(
    samples: Samples,
    size: Size | None,
    channels: Literal[1, 3],
    workers: int | None,
    skip: bool,
    memory_limit: float,
    cache: Path | None,
) -> tuple[Pixels, list[int]]:
    """Make the images of a source ready to be served.

    Args:
        samples: the catalogue.
        size: (height, width); None: the size of the first readable image.
        channels: 1 or 3.
        workers: decoders side by side; None: one per core, at most 8.
        skip: leave out unreadable images and say how many, instead of raising at the first.
        memory_limit: GiB up to which all images are decoded into memory.
        cache: folder for decoded images; None keeps none.

    Returns:
        the images, and the positions of unreadable ones (not looked for when nothing is skipped or held in memory).

    Raises:
        UserError: an image cannot be read and skip is off; or none can.
    """
    if samples.values is not None:
        if size is not None:
            raise UserError(f"these images are numbers of shape {samples.values.shape[1:]}: leave data.image_size out")
        return MemoryPixels(torch.from_numpy(samples.values)), []
    workers = min(8, usable_cores()) if workers is None else workers
    size = native_size(samples, channels) if size is None else size
    if len(samples) * channels * size[0] * size[1] <= memory_limit * 2**30:
        images, unreadable = decode_cached(samples, size, channels, workers, skip, cache)
        pixels: Pixels = MemoryPixels(torch.from_numpy(images))
    else:
        files = FilePixels(samples, size, channels, workers)
        pixels, unreadable = files, find_unreadable(samples, files) if skip else []
    if unreadable:
        first = ", ".join(samples.names[i] for i in unreadable[:3]) + (", …" if len(unreadable) > 3 else "")
        logger.warning("%d unreadable image(s) left out: %s", len(unreadable), first)
    if len(unreadable) == len(samples):
        raise UserError(f"none of the {len(samples)} images can be read: give image files, first '{samples.names[0]}'")
    return pixels, unreadable


def decode_cached(
    samples: Samples, size: Size, channels: Literal[1, 3], workers: int, skip: bool, cache: Path | None
) -> tuple[NDArray[np.uint8], list[int]]:
    """Decode all images, or read them from the cache; arrays that are in memory anyway are not cached."""
    if cache is None or not samples.fingerprint or whole_array(samples.reader) is not None:
        return decode_all(samples, size, channels, workers, skip)
    key = cache_key(samples.fingerprint, size, channels)
    found = read_cache(cache, key)
    if found is not None and len(found[0]) == len(samples) and (skip or not found[1]):
        return found
    images, unreadable = decode_all(samples, size, channels, workers, skip)
    try:
        write_cache(cache, key, images, unreadable)
    except OSError as error:
        logger.warning("decoded images are not cached in '%s' (%s): set data.cache_dir", cache, error)
    return images, unreadable


def find_unreadable(samples: Samples, pixels: FilePixels) -> list[int]:
    """Read every image once, in the workers, and list those that fail."""
    rows = [np.array([index]) for index in range(len(samples))]
    with bar(len(samples), "checking") as step:
        failed = []
        for index, served in enumerate(pixels.attempts(rows)):
            if isinstance(served, str):
                failed.append(index)
            step()
    return failed


def usable_cores() -> int:
    """Count the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux: fewer than the machine has where a scheduler shares it out
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
