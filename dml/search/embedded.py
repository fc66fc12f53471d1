"""Embedded images, batch by batch, whatever embeds them; no torch here."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
        images: Paths; one that stands twice is embedded once.
        embed: Embeds images of a listing, batch by batch.

    Raises:
        UserError: One cannot be read; names it.
    """
    listing = list_files([str(image) for image in images])
    rows: dict[str, NDArray[np.float32]] = {}
    for batch in embed(listing, np.arange(len(listing))):
        for position, reason in batch.failures.items():
            raise UserError(f"image '{listing.names[position]}' cannot be read ({reason}): mend it or leave it out")
        rows |= {listing.names[at]: row for at, row in zip(batch.positions, batch.embeddings, strict=True)}
    whole = [Path(os.path.abspath(os.path.expanduser(image))) for image in images]  # noqa: PTH100, PTH111
    return np.stack([rows[path.relative_to(listing.root).as_posix()] for path in whole])
