"""Embedded images, batch by batch, whatever embeds them; no torch here."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dml.data.images.batch import DecodedRows, decode_rows
from dml.data.sources.listing import Listing, list_files
from dml.errors import UserError


class Embedded(NamedTuple):
    """A batch of embedded images: `positions` (B,), `embeddings` (B,D), `sizes` (B,2), and why others failed."""

    positions: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    sizes: NDArray[np.int32]
    failures: dict[int, str]


def embed_files(
    images: Sequence[str | Path], embed: Callable[[Listing, NDArray[np.int64]], Iterator[Embedded]]
) -> NDArray[np.float32]:
    """Return the embeddings (n,D) of image files, in the order given.

    Args:
        images: Paths; one given twice is embedded once.
        embed: Embeds images of a listing, batch by batch.

    Raises:
        UserError: One cannot be read; names it.
    """
    listing = list_files([str(image) for image in images])
    rows: dict[str, NDArray[np.float32]] = {}
    for batch in embed(listing, np.arange(len(listing))):
        for position, reason in batch.failures.items():
            raise UserError(f"image '{listing.names[position]}' cannot be read ({reason}): fix it or leave it out")
        rows |= {listing.names[at]: row for at, row in zip(batch.positions, batch.embeddings, strict=True)}
    whole = [Path(os.path.abspath(os.path.expanduser(image))) for image in images]  # noqa: PTH100, PTH111
    return np.stack([rows[path.relative_to(listing.root).as_posix()] for path in whole])


def embed_held(
    images: Sequence[Any] | NDArray[Any],
    shape: tuple[int, int, int],
    embed: Callable[[DecodedRows], Embedded],
    batch_size: int,
) -> NDArray[np.float32]:
    """Return the embeddings (n,D) of images in memory, in the order given.

    Args:
        images: uint8 arrays (H,W) or (H,W,C) of any size each, an array of them (n,H,W[,C]), or Pillow's images.
        shape: (C, H, W) that they are brought to.
        embed: Embeds a batch.
        batch_size: Images at a time.

    Raises:
        UserError: One is not an image; names its position.
    """
    found = []
    for first in range(0, len(images), batch_size):
        rows = np.arange(first, min(first + batch_size, len(images)))
        batch = decode_rows(lambda at: images[at], rows, shape[1:], 1 if shape[0] == 1 else 3)
        for position, reason in batch.failures.items():
            raise UserError(
                f"image {position} is not an image ({reason}): give uint8 arrays (H,W) or (H,W,3), or Pillow's images"
            )
        found.append(embed(batch).embeddings)
    if not found:
        raise UserError("no images: give at least one")
    return np.concatenate(found)
