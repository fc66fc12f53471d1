"""Images that are arrays already: from Python, or from an .npz file."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dml.data.catalog import ArrayReader, Catalog, Source, index_labels
from dml.errors import UserError


def array_samples(images: NDArray[Any], labels: NDArray[Any], what: str) -> Catalog:
    """Catalog images (N, H, W) or (N, H, W, C) with labels (N,) of any kind.

    Raises:
        UserError: the shapes do not fit.
    """
    if images.ndim not in (3, 4) or labels.shape != images.shape[:1]:
        raise UserError(
            f"{what}: images {images.shape} and labels {labels.shape} do not fit: give (N, H, W[, C]) and (N,)"
        )
    numbers, class_names = index_labels([str(label) for label in labels.tolist()])
    return Catalog(
        labels=numbers,
        class_names=class_names,
        names=[f"{what}[{i}]" for i in range(len(images))],
        reader=ArrayReader(images),
        channels=1 if images.ndim == 3 or images.shape[3] == 1 else 3,
        fingerprint=hash_array(images),
    )


def hash_array(array: NDArray[Any]) -> str:
    """Hash the content of an array."""
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).hexdigest()


class Arrays(Source):
    """Images in memory, handed over from Python.

    Args:
        images: (N, H, W) or (N, H, W, C), C = 1, 3 or 4; bytes, 16-bit numbers (65535 is white) or floats within 0..1.
        labels: (N,), numbers or names.

    Raises:
        UserError: on `open`, where the shapes do not fit or there is one class only.

    Example:
        >>> Arrays(np.zeros((4, 8, 8), np.uint8), np.array(["a", "b", "a", "b"])).open().class_names
        ['a', 'b']
    """

    def __init__(self, images: NDArray[Any], labels: NDArray[Any]) -> None:
        self.images = images
        self.labels = labels

    def open(self) -> Catalog:
        """Catalog the arrays; nothing is copied."""
        return array_samples(np.asarray(self.images), np.asarray(self.labels), "array")


class ArrayFile(Source):
    """Images and labels in one `.npz` file, as written by numpy.savez.

    Args:
        root: the file.
        images: name of the array of images in it, of a form that `Arrays` takes.
        labels: name of the array of labels.

    Raises:
        UserError: on `open`, where the file or an array is missing or does not fit.

    Example:
        >>> ArrayFile("no-such.npz").open()
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no readable file 'no-such.npz': give an .npz written by numpy.savez
    """

    def __init__(self, root: str, images: str = "images", labels: str = "labels") -> None:
        self.root = root
        self.images = images
        self.labels = labels

    def open(self) -> Catalog:
        """Load both arrays."""
        try:
            with np.load(Path(self.root).expanduser(), allow_pickle=False) as file:
                found = {key: file[key] for key in (self.images, self.labels) if key in file}
                held = ", ".join(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError):
            raise UserError(f"no readable file '{self.root}': give an .npz written by numpy.savez") from None
        for key in (self.images, self.labels):
            if key not in found:
                raise UserError(f"'{self.root}' holds no array '{key}' (found: {held}): name it in the source's keys")
        return array_samples(found[self.images], found[self.labels], Path(self.root).name)
