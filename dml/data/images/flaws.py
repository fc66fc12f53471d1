"""Checks decoded images for flaws: a single colour, the same pixels twice, hardly any light."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dml.data.catalog import Catalog
from dml.data.images.pixels import MemoryPixels, Pixels
from dml.errors import UserError, printable

logger = logging.getLogger(__name__)
OnFlaw = Literal["keep", "tell", "skip", "raise"]
Pair = tuple[int, int]
DARK = 32  # grey levels: where no pixel of any image reaches it, bytes were hardly meant
_LOOKED_AT = 2**30  # bytes in memory up to which images are looked over unasked
_TOGETHER = 256  # images


@dataclass(frozen=True)
class Flaws:
    """What was found; positions in the source, ascending.

    Attributes:
        constant: images of one colour.
        repeated: images with pixels equal to those of an earlier one of their class, each with that one.
        contradictory: images with pixels equal to those of one of another class, each with that one, the earlier first.
        brightest: the largest byte of all images.
        distinct: number of different images.
    """

    constant: list[int]
    repeated: list[Pair]
    contradictory: list[Pair]
    brightest: int
    distinct: int

    @property
    def left_out(self) -> list[int]:
        """Images to leave out: those of one colour, all but the first of equal ones, all that classes share."""
        both = {position for pair in self.contradictory for position in pair}
        return sorted({*self.constant, *(later for _, later in self.repeated), *both})


def find_flaws(pixels: Pixels, labels: NDArray[np.int64], ids: NDArray[np.int64]) -> Flaws:
    """Read every image once.

    Args:
        pixels: serves images by position.
        labels: int64 (N,) of the whole source.
        ids: int64 (n,), n ≥ 1, the positions of readable images.

    Example:
        >>> import torch
        >>> images = torch.tensor([0, 0, 9, 1, 9, 1, 9, 1], dtype=torch.uint8).view(4, 1, 1, 2)
        >>> found = find_flaws(MemoryPixels(images), np.array([0, 1, 1, 0]), np.arange(4))
        >>> found.constant, found.repeated, found.contradictory, found.left_out
        ([0], [(1, 2)], [(1, 3), (2, 3)], [0, 1, 2, 3])
    """
    digests: list[bytes] = []
    constant: list[int] = []
    brightest = 0
    rows = np.array_split(ids, max(1, len(ids) // _TOGETHER))
    for row, images in zip(rows, pixels.batches(list(rows)), strict=True):
        hashes, flat, most = digest(images)
        digests += hashes
        constant += row[flat].tolist()
        brightest = max(brightest, most)
    places = ids.tolist()
    return Flaws(
        constant=sorted(constant),
        repeated=equal_to_first(digests, places, lambda i: int(labels[i]), same=True),
        contradictory=equal_to_first(digests, places, lambda i: int(labels[i]), same=False),
        brightest=brightest,
        distinct=len(set(digests)),
    )


def digest(images: Tensor) -> tuple[list[bytes], NDArray[np.bool_], int]:
    """Hash the pixels of images (n, C, H, W), find which are of one colour (n,), and the largest value."""
    array = images.cpu().numpy()
    hashes = [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in array]
    flat = (array[:, :, ::8, ::8] == array[:, :, :1, :1]).all(axis=(1, 2, 3))  # few pixels tell of nearly all
    flat[flat] = (array[flat] == array[flat][:, :, :1, :1]).all(axis=(1, 2, 3))
    return hashes, flat, int(array.max(initial=0))


def equal_to_first(digests: list[bytes], ids: list[int], side: Callable[[int], Hashable], same: bool) -> list[Pair]:
    """Pair images of equal pixels: each with the first of its side, or with the first of another side.

    A side is a class or a part. Pairs grow with the images, not with their square.

    Example:
        >>> equal_to_first([b"x"] * 4, [0, 1, 2, 3], lambda i: i % 2, same=True)
        [(0, 2), (1, 3)]
        >>> equal_to_first([b"x"] * 4, [0, 1, 2, 3], lambda i: i % 2, same=False)
        [(0, 1), (0, 3), (1, 2)]
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for hashed, i in zip(digests, ids, strict=True):
        groups[hashed].append(i)
    pairs: set[Pair] = set()
    for group in groups.values():
        if len(group) == 1:
            continue
        firsts: dict[Hashable, int] = {}
        for i in sorted(group):
            firsts.setdefault(side(i), i)
        for i in group:
            own = side(i)
            others = [firsts[own]] if same else [first for other, first in firsts.items() if other != own][:1]
            pairs |= {(min(i, first), max(i, first)) for first in others if first != i}
    return sorted(pairs)


def look_over(pixels: Pixels, catalog: Catalog, unreadable: list[int], on_flaw: OnFlaw) -> list[int]:
    """Check the images of a source and treat flawed ones as the user wants; return those that are left out.

    Args:
        pixels: the images.
        catalog: what the source holds.
        unreadable: positions to skip.
        on_flaw: "keep" looks at nothing; "tell" says in one line what it finds where memory holds no more than 1 GiB of
            images; "skip" leaves flawed ones out; "raise" refuses them.

    Raises:
        UserError: all images are equal, or one is flawed and "raise" is asked for.
    """
    held = isinstance(pixels, MemoryPixels) and pixels.images.nbytes <= _LOOKED_AT
    ids = np.setdiff1d(np.arange(len(catalog)), unreadable)
    if on_flaw == "keep" or (on_flaw == "tell" and not held):
        return []
    found = find_flaws(pixels, catalog.labels, ids)
    if found.distinct == 1 and len(ids) > 1:
        raise UserError(
            f"all {len(ids)} images have the same pixels: look at the files, or at the scale of the numbers"
        )
    if catalog.values is None and found.brightest < DARK:
        told = "no pixel of the %d images is brighter than %d of 255: name what is white (data.source's `white`)"
        logger.warning(told, len(ids), found.brightest)
    kinds: list[tuple[str, list[int]]] = [
        ("of one colour", found.constant),
        ("equal to another one of their class", [later for _, later in found.repeated]),
        ("equal to one of another class", sorted({i for pair in found.contradictory for i in pair})),
    ]
    told = ", ".join(f"{len(some)} {what} (first '{catalog.names[some[0]]}')" for what, some in kinds if some)
    if not told:
        return []
    if on_flaw == "raise":
        raise UserError(f"of {len(ids)} images {told}: fix them, or set data.on_flaw to skip or tell")
    mend = "left out" if on_flaw == "skip" else "`dml audit` lists them, data.on_flaw=skip leaves them out"
    logger.warning("of %d images %s: %s", len(ids), printable(told), mend)
    return found.left_out if on_flaw == "skip" else []
