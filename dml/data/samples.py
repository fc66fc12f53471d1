"""What a source holds, before anything is decoded: labels, names and a way to read image i. Knows no split or size."""

import io
import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dml.errors import UserError

Raw = Image.Image | NDArray[Any]
Part = Literal["train", "val", "test", ""]


class Reader(Protocol):
    """Reads one image by its position: a PIL image, or an array (H, W) or (H, W, C)."""

    def __call__(self, index: int) -> Raw:
        """Read image `index`."""
        ...


@dataclass(frozen=True)
class Samples:
    """The catalogue of a source, one entry per image.

    Attributes:
        labels: int64 (N,), index into class_names.
        class_names: the names of the classes, in label order.
        names: (N,) a name per image that a person can find it by; relative, so that hashes agree between machines.
        reader: reads image i.
        channels: 1 (grey) or 3 (RGB), what the images are by nature.
        fingerprint: changes when the content of any image changes; "" where that cannot be known (no disk cache then).
        parts: (N,) the source's own split, "train", "val", "test" or "" (nothing said); empty where it has none.
        class_disjoint: whether the source's own split keeps classes apart.
        groups: int64 (N,) images of one group belong on one side of a split (a patient, a product); or None.
        is_query: bool (N,) which test images ask; or None (all do).
        is_reference: bool (N,) which test images are searched; or None.
    """

    labels: NDArray[np.int64]
    class_names: list[str]
    names: list[str]
    reader: Reader
    channels: Literal[1, 3] = 3
    fingerprint: str = ""
    parts: list[Part] = field(default_factory=list)
    class_disjoint: bool = False
    groups: NDArray[np.int64] | None = None
    is_query: NDArray[np.bool_] | None = None
    is_reference: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.labels)


class Source(ABC):
    """Where images come from. Constructing one reads nothing; `open` reads names and labels, never all pixels."""

    @abstractmethod
    def open(self) -> Samples:
        """Find the images and their labels.

        Raises:
            UserError: nothing is there, or it does not look as this source expects.
        """


@dataclass(frozen=True)
class ArrayReader:
    """Reads from an array (N, H, W) or (N, H, W, C)."""

    array: NDArray[Any]

    def __call__(self, index: int) -> Raw:
        """Look the image up."""
        image: NDArray[Any] = self.array[index]
        return image


@dataclass(frozen=True)
class FileReader:
    """Reads image files by path."""

    paths: list[Path]

    def __call__(self, index: int) -> Raw:
        """Open the file; the pixels are decoded when asked for."""
        return Image.open(io.BytesIO(self.paths[index].read_bytes()))


class ZipReader:
    """Reads image files inside a zip without unpacking it; each thread and each worker process opens its own handle."""

    def __init__(self, archive: Path, members: list[str]) -> None:
        self.archive = archive
        self.members = members

    def __call__(self, index: int) -> Raw:
        """Open the member; the pixels are decoded when asked for."""
        with zipfile.ZipFile(self.archive) as archive:
            return Image.open(io.BytesIO(archive.read(self.members[index])))


def index_labels(keys: list[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Give class names their numbers, in sorted order.

    Args:
        keys: (N,) the class name of each image.

    Returns:
        labels (N,) and the sorted class names.

    Raises:
        UserError: there is no image, or only one class.

    Example:
        >>> index_labels(["rose", "iris", "rose"])
        (array([1, 0, 1]), ['iris', 'rose'])
    """
    names, labels = np.unique(np.asarray(keys, dtype=object), return_inverse=True)
    if len(names) < 2:
        only = f"one class only ({names[0]!r})" if len(names) else "no image at all"
        raise UserError(f"{only}: a metric needs images of at least two classes, one folder (or label) each")
    return labels.reshape(-1).astype(np.int64), [str(name) for name in names]


@dataclass(frozen=True)
class PickReader:
    """Reads some of another reader's images."""

    reader: Reader
    keep: NDArray[np.int64]

    def __call__(self, index: int) -> Raw:
        """Read the image kept at place `index`."""
        return self.reader(int(self.keep[index]))


def take(samples: Samples, keep: NDArray[np.int64]) -> Samples:
    """Keep some of the images, in the order given; class names and numbers stay."""

    def pick(values: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if values is None else values[keep]

    return Samples(
        labels=samples.labels[keep],
        class_names=samples.class_names,
        names=[samples.names[i] for i in keep],
        reader=PickReader(samples.reader, keep),
        channels=samples.channels,
        parts=[samples.parts[i] for i in keep] if samples.parts else [],
        class_disjoint=samples.class_disjoint,
        groups=pick(samples.groups),
        is_query=pick(samples.is_query),
        is_reference=pick(samples.is_reference),
    )
