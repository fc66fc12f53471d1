"""Audits a data set before a score is trusted: counts, lone classes, unreadable files, duplicates across parts."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dml.data.datamodule import ImageData
from dml.data.images.flaws import Pair, digest, equal_to_first
from dml.data.splits.draw import Indices

SIDE = 16  # pixels of the thumbnails that near duplicates are looked for in


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        images: number of images in each part.
        class_counts: images of each class in train, val and test.
        lone_classes: classes with a single readable image: no positive is possible.
        unreadable: names of unreadable images.
        exact: pairs of names with equal pixels that lie in different parts.
        near: pairs of names with almost equal thumbnails that lie in different parts, exact ones left out.
        contradictions: pairs of names with equal pixels and different classes, whatever their parts.
        repeated: pairs of names with equal pixels, of one class and in one part: each image with the first of its kind.
        constant: names of images of one colour.
        left_out: names of images that `data.on_flaw` left out, which nothing above counts.
        brightest: the largest byte of all pixels; far below 255 where numbers were taken for another scale.
    """

    images: dict[str, int]
    class_counts: dict[str, tuple[int, int, int]]
    lone_classes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    exact: list[tuple[str, str]] = field(default_factory=list)
    near: list[tuple[str, str]] = field(default_factory=list)
    contradictions: list[tuple[str, str]] = field(default_factory=list)
    repeated: list[tuple[str, str]] = field(default_factory=list)
    constant: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    brightest: int = 255

    @property
    def leaks(self) -> int:
        """Count pairs of duplicates across parts."""
        return len(self.exact) + len(self.near)

    def as_dict(self) -> dict[str, Any]:
        """Give everything as plain lists and numbers, for a JSON file."""
        return asdict(self) | {"leaks": self.leaks}


def audit_data(data: ImageData, near: float = 0.995) -> Audit:
    """Audit the images that a datamodule serves, at its image_size.

    Args:
        data: set up here if it is not yet; `on_error="skip"` lists unreadable images instead of stopping at one.
        near: least correlation of two standardised thumbnails (16×16, all channels) that counts as a near duplicate;
            above 1 looks for none. Where all images look alike (digits), raise it.

    Returns:
        what was found.

    Example:
        >>> from dml.data import ImageData
        >>> found = audit_data(ImageData(), near=2)
        >>> found.images["train"], found.lone_classes, found.leaks
        (1079, [], 0)
    """
    data.setup()
    catalog, parts = data.catalog, data.parts
    kept = np.concatenate([parts.train, parts.val, parts.test])
    part = np.full(len(catalog), -1)
    for number, ids in enumerate((parts.train, parts.val, parts.test)):
        part[ids] = number
    hashes, thumbnails, constant, brightest = digest_images(data, kept)
    places = kept.tolist()
    across = equal_to_first(hashes, places, lambda i: int(part[i]), same=False)
    apart = equal_to_first(hashes, places, lambda i: int(catalog.labels[i]), same=False)
    again = equal_to_first(hashes, places, lambda i: (int(part[i]), int(catalog.labels[i])), same=True)
    counts = np.zeros((data.num_classes, 3), dtype=int)
    np.add.at(counts, (catalog.labels[kept], part[kept]), 1)

    def name(pairs: list[Pair]) -> list[tuple[str, str]]:
        return [(catalog.names[a], catalog.names[b]) for a, b in pairs]

    close = near_pairs(thumbnails, kept, part, near) if near <= 1 else []
    return Audit(
        images={"train": len(parts.train), "val": len(parts.val), "test": len(parts.test)},
        class_counts={n: (int(a), int(b), int(c)) for n, (a, b, c) in zip(data.class_names, counts, strict=True)},
        lone_classes=[n for n, row in zip(data.class_names, counts, strict=True) if row.sum() == 1],
        unreadable=[catalog.names[i] for i in data.unreadable],
        exact=name(across),
        near=name(sorted(set(close) - set(across))),
        contradictions=name(apart),
        repeated=name(again),
        constant=[catalog.names[i] for i in sorted(constant)],
        left_out=[catalog.names[i] for i in data.flawed],
        brightest=brightest if catalog.values is None else 255,
    )


def digest_images(data: ImageData, ids: Indices) -> tuple[list[bytes], Tensor, list[int], int]:
    """Read images once.

    Returns:
        a hash of the pixels of each (n,); standardised thumbnails (n, C·16·16) of length 1, flat ones zero; the
        positions of images of one colour; the largest byte.
    """
    hashes: list[bytes] = []
    thumbnails = []
    constant: list[int] = []
    brightest = 0
    rows = list(np.array_split(ids, max(1, len(ids) // 256)))
    for row, images in zip(rows, data.pixels.batches(rows), strict=True):
        images = images.cpu()
        more, flat, most = digest(images)
        hashes, constant, brightest = hashes + more, constant + row[flat].tolist(), max(brightest, most)
        small = F.interpolate(images.float(), size=(SIDE, SIDE), mode="bilinear", antialias=True).flatten(1)
        centred = small - small.mean(dim=1, keepdim=True)
        # what varies by less than one grey level is a flat picture, not a likeness
        thumbnails.append(torch.where(centred.std(dim=1, keepdim=True) < 1, 0.0, F.normalize(centred)))
    return hashes, torch.cat(thumbnails), constant, brightest


def near_pairs(thumbnails: Tensor, ids: Indices, part: Indices, least: float) -> list[Pair]:
    """Find pairs of different parts whose thumbnails correlate, tile by tile."""
    found: list[Pair] = []
    parts = torch.from_numpy(part[ids])
    tile = max(1, 2**25 // max(1, len(ids)))
    for start in range(0, len(ids), tile):
        alike = thumbnails[start : start + tile] @ thumbnails.T >= least
        alike &= parts[start : start + tile, None] < parts[None, :]
        for a, b in alike.nonzero().tolist():
            i, j = int(ids[start + a]), int(ids[b])
            found.append((min(i, j), max(i, j)))
    return found
