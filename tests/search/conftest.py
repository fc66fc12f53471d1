"""Images and an encoder that needs no torch: an embedding is the mean colour of an image's quarters."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image


class Batch(NamedTuple):
    positions: np.ndarray
    embeddings: np.ndarray
    sizes: np.ndarray
    failures: dict


class Pictures:
    """A listing of image files below a folder, and how often each was embedded."""

    def __init__(self, root, names=None):
        files = sorted(path for path in root.rglob("*.png"))
        self.root = str(root)
        self.names = names or [path.relative_to(root).as_posix() for path in files]
        self.labels = [name.rpartition("/")[0] for name in self.names]
        self.stamps = [_stamp(root / name) for name in self.names]


def _stamp(path):
    return f"{path.stat().st_size} {path.stat().st_mtime_ns}" if path.exists() else ""


class MeanColours:
    metric = "l2"
    image_shape = (3, 8, 8)

    def __init__(self, folder, weights="one", batch=3, fail_after=None):
        self.folder, self.weights, self.batch, self.fail_after = Path(folder), weights, batch, fail_after
        self.embedded = []

    def embed(self, listing, positions):
        for start in range(0, len(positions), self.batch):
            if self.fail_after is not None and len(self.embedded) >= self.fail_after:
                raise KeyboardInterrupt
            good, rows, sizes, failures = [], [], [], {}
            for at in positions[start : start + self.batch].tolist():
                try:
                    image = Image.open(Path(listing.root) / listing.names[at])
                    rows.append(np.asarray(image.resize((2, 2), Image.Resampling.BOX), np.float32).ravel())
                except OSError as error:
                    failures[at] = str(error).splitlines()[0]
                    continue
                good.append(at)
                sizes.append((image.height, image.width))
                self.embedded.append(listing.names[at])
            shape = np.array(sizes, np.int32).reshape(-1, 2)
            yield Batch(np.array(good, np.int64), np.array(rows, np.float32).reshape(-1, 12), shape, failures)


def _paint(path, seed, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path):
    """Seven images: three of a class, three of another in a deeper folder, one beside them."""
    for seed, name in enumerate(["a/0", "a/1", "a/2", "b/c/3", "b/c/4", "b/c/5", "6"]):
        _paint(tmp_path / "photos" / f"{name}.png", seed, (8, 6))
    return tmp_path / "photos"


@pytest.fixture
def paint():
    """Return a function that writes an image of noise: paint(path, seed)."""
    return _paint


@pytest.fixture
def encoder(tmp_path):
    """Return the class of an encoder that needs no torch."""
    return partial(MeanColours, tmp_path)


@pytest.fixture
def listed():
    """Return a function from a folder to the listing of its images."""
    return Pictures
