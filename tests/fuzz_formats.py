"""The kinds of files that `fuzz_files.py` spoils: how each is made, spoilt and read."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fuzz_images as images
import fuzz_runs as runs
from fuzz_spoil import spoil_one


@dataclass(frozen=True)
class Format:
    """How files of one kind are made, spoilt and read: `spoil` says what was done, `read` fails as its entry does."""

    make: Callable[[Path], object]
    read: Callable[[Path, random.Random], object]
    spoil: Callable[[Path, random.Random], str]


FORMATS: dict[str, Format] = {
    kind: Format(
        lambda folder, kind=kind: images.photos(kind, folder),
        images.like_truth("photos")
        if kind == "png"
        else lambda folder, rng: images.read_images(folder / "photos", rng),
        spoil_one(f"photos/*/*.{kind}"),
    )
    for kind in ("png", "jpg", "bmp", "gif", "tiff", "webp", "ppm")
}
FORMATS |= {
    "zip": Format(images.make_zip, images.like_truth("photos.zip"), spoil_one("photos.zip")),
    "npz": Format(images.make_arrays, images.like_truth("a.npz"), spoil_one("a.npz")),
    "values": Format(images.nothing, images.read_values, images.nothing),
    "csv": Format(
        images.make_table,
        lambda folder, rng: images.read_images(folder / "photos" / "table.csv", rng),
        spoil_one("photos/table.csv", True),
    ),
    "parquet": Format(
        images.make_parquet,
        lambda folder, rng: images.read_images(folder / "photos" / "table.parquet", rng),
        spoil_one("photos/table.parquet"),
    ),
    "idx": Format(images.make_idx, images.read_idx, spoil_one("MNIST/raw/*")),
    "lists": Format(images.make_birds, images.read_birds, spoil_one("*.*", True)),
    "cache": Format(images.make_cache, images.read_cached, spoil_one("decoded/*.*", True)),
    "embeddings": Format(runs.make_embeddings, runs.read_embeddings, spoil_one("e.np*")),
    "sets": Format(runs.make_embeddings, runs.read_set, runs.spoil_set),
    "run": Format(runs.make_run, runs.read_run, runs.spoil_run),
    "places": Format(images.nothing, images.read_place, images.nothing),
}
