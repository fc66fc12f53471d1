"""Images that are already arrays: from Python, or from an .npz file."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dml import runs
from dml.data.catalog import ArrayReader, Catalog, Source, index_labels
from dml.data.images.scale import check_scale
from dml.errors import UserError


def array_samples(
    images: NDArray[Any],
    labels: NDArray[Any],
    what: str,
    black: float = 0.0,
    white: float | None = None,
    mend: str = "give",
) -> Catalog:
    """Catalog images (N, H, W) or (N, H, W, C) with labels (N,) of any kind.

    Raises:
        UserError: the shapes do not fit, the numbers are on another scale, or labels are neither names nor whole.
    """
    if images.ndim not in (3, 4) or labels.shape != images.shape[:1] or not images.size:
        raise UserError(
            f"{what}: images {images.shape} and labels {labels.shape} do not fit: give (N, H, W[, C]) and (N,)"
        )
    if images.ndim == 4 and images.shape[3] not in (1, 3, 4):
        hint = ", channels last" if images.shape[1] in (1, 3, 4) else ""
        raise UserError(f"{what}: images {images.shape} have {images.shape[3]} channels: give 1, 3 or 4{hint}")
    check_scale(images, black, white, what, mend)
    if labels.dtype.kind == "c" or (labels.dtype.kind == "f" and not (labels == np.rint(labels)).all()):
        raise UserError(
            f"{what}: the labels are not whole, first {labels[labels != np.rint(labels)][:1]}: give classes"
        )
    numbers, class_names = index_labels([str(label) for label in labels.tolist()])
    return Catalog(
        labels=numbers,
        class_names=class_names,
        names=[f"{what}[{i}]" for i in range(len(images))],
        reader=ArrayReader(images, black, white),
        channels=1 if images.ndim == 3 or images.shape[3] == 1 else 3,
        fingerprint=hash_array(images) + ("" if white is None and black == 0 else f" {black} {white}"),
    )


def hash_array(array: NDArray[Any]) -> str:
    """Hash the content of an array."""
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).hexdigest()


class Arrays(Source):
    """Images in memory, handed over from Python.

    Args:
        images: (N, H, W) or (N, H, W, C), C = 1, 3 or 4; booleans, bytes or other whole numbers (255 is white), uint16
            (65535 is white) or floats within 0..1.
        labels: (N,), whole numbers or names.
        black: what is black in images on another scale.
        white: what is white there, such as 16 for scikit-learn's digits; None: as above.

    Raises:
        UserError: on `open`, where the shapes do not fit, images are on another scale, or there is one class only.

    Example:
        >>> Arrays(np.zeros((4, 8, 8), np.uint8), np.array(["a", "b", "a", "b"])).open().class_names
        ['a', 'b']
    """

    def __init__(
        self, images: NDArray[Any], labels: NDArray[Any], black: float = 0.0, white: float | None = None
    ) -> None:
        self.images = images
        self.labels = labels
        self.black = black
        self.white = white

    def open(self) -> Catalog:
        """Catalog the arrays; nothing is copied."""
        return array_samples(np.asarray(self.images), np.asarray(self.labels), "array", self.black, self.white)


class ArrayFile(Source):
    """Images and labels in one `.npz` file, as written by numpy.savez.

    Args:
        root: the file.
        images: name of the array of images in it, of a form that `Arrays` takes.
        labels: name of the array of labels.
        black: what is black in images on another scale.
        white: what is white there; None: as `Arrays` has it.

    Raises:
        UserError: on `open`, where the file or an array is missing or does not fit.

    Example:
        >>> ArrayFile("no-such.npz").open()
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no file no-such.npz
    """

    def __init__(
        self, root: str, images: str = "images", labels: str = "labels", black: float = 0.0, white: float | None = None
    ) -> None:
        self.root = root
        self.images = images
        self.labels = labels
        self.black = black
        self.white = white

    def open(self) -> Catalog:
        """Load both arrays."""
        with runs.open_archive(Path(self.root).expanduser()) as file:
            found = {key: file[key] for key in (self.images, self.labels) if key in file}
            held = ", ".join(file)
        for key in (self.images, self.labels):
            if key not in found:
                raise UserError(f"'{self.root}' holds no array '{key}' (found: {held}): name it in the source's keys")
        mend = f"set data.source to dml.data.ArrayFile with root: {self.root},"
        name = Path(self.root).name
        return array_samples(found[self.images], found[self.labels], name, self.black, self.white, mend)
