"""Decodes whole sources in parallel, naming or skipping what cannot be read."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dml.data.catalog import Catalog, whole_array
from dml.data.images.decode import decode_image
from dml.data.images.scale import count_not_finite
from dml.data.rows import read_rows
from dml.errors import UserError, reason_of

Size = tuple[int, int]
_ROW = 32  # images that one thread decodes in a row
_LARGEST_NATIVE = 512  # a side; above, hardly anybody means to train at the size of the files


def read_image(catalog: Catalog, index: int, size: Size | None, channels: Literal[1, 3]) -> NDArray[np.uint8]:
    """Read and decode one image to uint8 (C, H, W).

    Raises:
        UserError: it cannot be read; names it, says why and what to do.
    """
    [found] = read_images(catalog, [index], size, channels)
    if isinstance(found, UserError):
        raise found
    return found


def read_images(
    catalog: Catalog, row: Sequence[int], size: Size | None, channels: Literal[1, 3]
) -> Iterator[NDArray[np.uint8] | UserError]:
    """Yield images decoded to uint8 (C, H, W); in place of one that cannot be read the error that says so.

    Raises:
        UserError: the source as a whole cannot be read.
    """
    for index, raw in zip(row, read_rows(catalog.reader, row), strict=True):
        try:
            if isinstance(raw, Exception):
                raise raw
            yield decode_image(raw, size, channels)
        except Exception as error:  # damaged files make Pillow stumble in many ways
            reason = re.sub(r" <_io\.[^>]*>", "", reason_of(error))  # Pillow names the object it read from
            told = f"image '{catalog.names[index]}' cannot be read ({reason})"
            failed = UserError(f"{told}: fix or remove it, or set data.on_error to skip")
            failed.__cause__ = error
            yield failed


def native_size(catalog: Catalog, channels: Literal[1, 3]) -> Size:
    """Size (height, width) of the first readable image.

    Raises:
        UserError: no image can be read, or the first is larger than anybody trains on.
    """
    first: UserError | None = None
    for index in range(len(catalog)):
        try:
            _, height, width = read_image(catalog, index, None, channels).shape
        except UserError as error:
            first = first or error
        else:
            if max(height, width) > _LARGEST_NATIVE:
                raise UserError(f"images have {height}×{width} pixels: set data.image_size (64 to 224 is usual)")
            return height, width
    raise first or UserError("no image to read: give a source that holds some")


def decode_all(
    catalog: Catalog, size: Size, channels: Literal[1, 3], workers: int, skip: bool
) -> tuple[NDArray[np.uint8], list[int]]:
    """Decode every image of a source into one array.

    Args:
        catalog: what the source holds.
        size: (height, width).
        channels: 1 or 3.
        workers: threads that decode in parallel; the result does not depend on it.
        skip: leave unreadable images black and list them, instead of raising at the first.

    Returns:
        uint8 (N, C, H, W) and the positions of unreadable images, ascending.

    Raises:
        UserError: an image cannot be read and skip is off.
    """
    array = whole_array(catalog.reader)
    if array is not None and array.dtype == np.uint8 and array.shape[1:] in (size, (*size, channels)):
        if array.ndim == 4:  # nothing to decode
            return np.ascontiguousarray(array.transpose(0, 3, 1, 2)), []
        if channels == 1:
            return array[:, None].copy(), []
    if array is not None and not skip:
        count, first = count_not_finite(array)
        if count:
            told = f"{count} of {len(array)} images hold NaN or infinity, first '{catalog.names[first]}'"
            raise UserError(f"{told}: fix them, or set data.on_error to skip")
    out = np.zeros((len(catalog), channels, *size), dtype=np.uint8)

    def fill(row: range) -> list[int]:
        failed = []
        for index, found in zip(row, read_images(catalog, row, size, channels), strict=True):
            if not isinstance(found, UserError):
                out[index] = found
            elif skip:
                failed.append(index)
            else:
                raise found
        return failed

    rows = [range(start, min(start + _ROW, len(catalog))) for start in range(0, len(catalog), _ROW)]
    with ThreadPoolExecutor(max(1, workers)) as pool, bar(len(catalog), "decoding") as step:
        unreadable: list[int] = []
        try:
            for row, failed in zip(rows, pool.map(fill, rows), strict=True):
                unreadable += failed
                step(len(row))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return out, unreadable


@contextmanager
def bar(total: int, what: str) -> Iterator[Callable[..., None]]:
    """Show a progress bar on a terminal's error stream, nothing elsewhere; yields what to call after each item, or n.

    Example:
        >>> with bar(100, "decoding") as step:
        ...     step()
        ...     step(99)
    """
    if not sys.stderr.isatty() or total < 200 or find_spec("rich") is None:
        yield lambda count=1: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count=1: progress.advance(task, count)
