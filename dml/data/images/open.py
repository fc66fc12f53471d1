"""Opens the images of a catalog: decoded into memory, with the cache on disk, or decoded batch by batch."""

import contextlib
import logging
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dml.data.catalog import Catalog, whole_array
from dml.data.images.batch import usable_cores
from dml.data.images.cache import (
    cache_key,
    entry_file,
    lock_entry,
    read_cache,
    read_unreadable,
    write_cache,
    write_unreadable,
)
from dml.data.images.pixels import FilePixels, MemoryPixels, Pixels
from dml.data.images.read import Size, bar, decode_all, native_size
from dml.data.images.scale import count_not_finite
from dml.errors import UserError, printable

logger = logging.getLogger(__name__)
_CHECKED = 32  # images looked at in a row


def open_pixels(
    catalog: Catalog,
    size: Size | None,
    channels: Literal[1, 3],
    workers: int | None,
    skip: bool,
    memory_limit: float,
    cache: Path | None,
    batch_size: int = 1,
) -> tuple[Pixels, list[int]]:
    """Make the images of a source ready to be served.

    Args:
        catalog: what the source holds.
        size: (height, width); None: the size of the first readable image.
        channels: 1 or 3.
        workers: decoders side by side; None: one per core, at most 8.
        skip: leave out unreadable images and say how many, instead of raising at the first.
        memory_limit: GiB up to which all images are decoded into memory.
        cache: folder for decoded images; None keeps none.
        batch_size: images in the largest batch, which the limit must hold where images are decoded batch by batch.

    Returns:
        the images, and the positions of unreadable ones (not looked for when nothing is skipped or held in memory).

    Raises:
        UserError: an image cannot be read and skip is off; or none can; or the limit does not hold a batch.
    """
    if catalog.values is not None:
        if size is not None:
            raise UserError(f"these images are numbers of shape {catalog.values.shape[1:]}: leave data.image_size out")
        bad, at = count_not_finite(catalog.values)
        if bad:
            raise UserError(
                f"{bad} of {len(catalog)} samples hold NaN or infinity, first '{catalog.names[at]}': fix it"
            )
        return MemoryPixels(torch.from_numpy(catalog.values)), []
    workers = min(8, usable_cores()) if workers is None else workers
    size = native_size(catalog, channels) if size is None else size
    image, held = channels * size[0] * size[1], int(memory_limit * 2**30)
    if len(catalog) * image <= held:
        images, unreadable, file = decode_cached(catalog, size, channels, workers, skip, cache)
        pixels: Pixels = MemoryPixels(torch.from_numpy(images), file)
    else:
        if 0 < held < batch_size * image:
            told = f"a batch of {batch_size} images of {channels}×{size[0]}×{size[1]}"
            told += f" takes {batch_size * image / 2**30:.3g} GiB"
            mend = "give as much, or smaller data.batch_size and data.eval_batch_size"
            raise UserError(f"data.memory_limit={memory_limit:g}: {told}: {mend}")
        files = FilePixels(catalog, size, channels, workers, held=held)
        pixels, unreadable = files, unreadable_cached(catalog, files, cache) if skip else []
    if unreadable:
        first = ", ".join(catalog.names[i] for i in unreadable[:3]) + (", …" if len(unreadable) > 3 else "")
        logger.warning("%d unreadable image(s) left out: %s", len(unreadable), printable(first))
    if len(unreadable) == len(catalog):
        raise UserError(f"none of the {len(catalog)} images can be read: give image files, first '{catalog.names[0]}'")
    return pixels, unreadable


class Decoded(NamedTuple):
    """Decoded images: uint8 (N, C, H, W), the positions of unreadable ones, and the file of the cache they lie in."""

    images: NDArray[np.uint8]
    unreadable: list[int]
    file: Path | None = None


def decode_cached(
    catalog: Catalog, size: Size, channels: Literal[1, 3], workers: int, skip: bool, cache: Path | None
) -> Decoded:
    """Decode all images, or read them from the cache; arrays that are in memory anyway are not cached.

    Of several trainings that start together, one decodes; the others wait and read.
    """
    if cache is None or not catalog.fingerprint or whole_array(catalog.reader) is not None:
        return Decoded(*decode_all(catalog, size, channels, workers, skip))
    key = cache_key(catalog.fingerprint, size, channels)
    file = entry_file(cache, key)

    def cached() -> Decoded | None:
        found = read_cache(cache, key)
        fits = found is not None and len(found[0]) == len(catalog) and (skip or not found[1])
        return Decoded(*found, file) if found is not None and fits else None

    with contextlib.ExitStack() as stack:
        if (found := cached()) is not None:
            return found
        try:
            stack.enter_context(lock_entry(cache, key))
            if (found := cached()) is not None:  # another process decoded meanwhile
                return found
        except (OSError, NotImplementedError) as error:  # no room, no right, or a file system without locks
            logger.debug("no lock in '%s' (%s): processes that start together each decode", cache, error)
        images, unreadable = decode_all(catalog, size, channels, workers, skip)
        try:
            write_cache(cache, key, images, unreadable)
        except OSError as error:
            logger.warning("decoded images are not cached in '%s' (%s): set data.cache_dir", cache, error)
            return Decoded(images, unreadable)
        return Decoded(images, unreadable, file)


def unreadable_cached(catalog: Catalog, pixels: FilePixels, cache: Path | None) -> list[int]:
    """Find the images that cannot be read, or look them up; of several trainings one finds, the others wait."""
    if cache is None or not catalog.fingerprint:
        return find_unreadable(catalog, pixels)
    key = cache_key(catalog.fingerprint, pixels.rows.size, pixels.rows.channels)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):  # no right, or a file system without locks
            stack.enter_context(lock_entry(cache, key))
        if (found := read_unreadable(cache, key, len(catalog))) is not None:
            return found
        found = find_unreadable(catalog, pixels)
        with contextlib.suppress(OSError):
            write_unreadable(cache, key, found)
        return found


def find_unreadable(catalog: Catalog, pixels: FilePixels) -> list[int]:
    """Read every image once, in the workers, and list those that fail."""
    rows = [np.arange(start, min(start + _CHECKED, len(catalog))) for start in range(0, len(catalog), _CHECKED)]
    with bar(len(catalog), "checking") as step:
        failed: list[int] = []
        for row, found in zip(rows, pixels.failures(rows), strict=True):
            failed += found
            step(len(row))
    return failed
