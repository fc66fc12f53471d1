"""Looks a data set over before a score is trusted: counts, lone classes, unreadable files, duplicates across parts."""

import hashlib
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dml.data.datamodule import ImageData
from dml.data.splits.draw import Indices

SIDE = 16  # pixels of the thumbnails that near duplicates are looked for in
Pair = tuple[int, int]


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
    """

    images: dict[str, int]
    class_counts: dict[str, tuple[int, int, int]]
    lone_classes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    exact: list[tuple[str, str]] = field(default_factory=list)
    near: list[tuple[str, str]] = field(default_factory=list)
    contradictions: list[tuple[str, str]] = field(default_factory=list)

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
    hashes, thumbnails = digest_images(data, kept)
    twins = equal_pairs(hashes, kept)
    counts = np.zeros((data.num_classes, 3), dtype=int)
    np.add.at(counts, (catalog.labels[kept], part[kept]), 1)

    def name(pairs: list[Pair]) -> list[tuple[str, str]]:
        return [(catalog.names[a], catalog.names[b]) for a, b in pairs]

    across = [(a, b) for a, b in twins if part[a] != part[b]]
    close = near_pairs(thumbnails, kept, part, near) if near <= 1 else []
    return Audit(
        images={"train": len(parts.train), "val": len(parts.val), "test": len(parts.test)},
        class_counts={n: (int(a), int(b), int(c)) for n, (a, b, c) in zip(data.class_names, counts, strict=True)},
        lone_classes=[n for n, row in zip(data.class_names, counts, strict=True) if row.sum() == 1],
        unreadable=[catalog.names[i] for i in data.unreadable],
        exact=name(across),
        near=name(sorted(set(close) - set(across))),
        contradictions=name([(a, b) for a, b in twins if catalog.labels[a] != catalog.labels[b]]),
    )


def digest_images(data: ImageData, ids: Indices) -> tuple[list[bytes], Tensor]:
    """Hash the pixels of images and make standardised thumbnails (n, C·16·16) of length 1; flat ones are zero."""
    hashes: list[bytes] = []
    rows = []
    for images in data.pixels.batches(list(np.array_split(ids, max(1, len(ids) // 256)))):
        images = images.cpu()
        hashes += [hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest() for image in images]
        small = F.interpolate(images.float(), size=(SIDE, SIDE), mode="bilinear", antialias=True).flatten(1)
        centred = small - small.mean(dim=1, keepdim=True)
        # what varies by less than one grey level is a flat picture, not a likeness
        rows.append(torch.where(centred.std(dim=1, keepdim=True) < 1, 0.0, F.normalize(centred)))
    return hashes, torch.cat(rows)


def equal_pairs(hashes: list[bytes], ids: Indices) -> list[Pair]:
    """Pair all images of equal pixels."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for digest, i in zip(hashes, ids.tolist(), strict=True):
        groups[digest].append(i)
    return sorted(
        (min(a, b), max(a, b)) for group in groups.values() for k, a in enumerate(group) for b in group[k + 1 :]
    )


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
