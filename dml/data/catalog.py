"""What a source holds, before anything is decoded: labels, names and a way to read image i."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dml.data.images.scale import to_bytes
from dml.data.texts import texts_at
from dml.errors import UserError

Raw = Image.Image | NDArray[Any]
Part = Literal["train", "val", "test", ""]
GroupRule = Literal["any", "same", "other", "cross"]


class Reader(Protocol):
    """Reads one image by its position: a PIL image, or an array (H, W) or (H, W, C)."""

    def __call__(self, index: int) -> Raw:
        """Read image `index`."""
        ...


@dataclass(frozen=True)
class Catalog:
    """The catalog of a source, one entry per image.

    An image is named once, by its position; labels, names and all else below are in that order.

    Attributes:
        labels: int64 (N,), index into class_names.
        class_names: the names of the classes, in label order.
        names: (N,) a name for each image that a person can find it by; relative, so that hashes agree between machines.
        reader: reads image i.
        channels: 1 (grey) or 3 (RGB), as the images are stored.
        fingerprint: changes when the content of any image changes; "" where that cannot be known (no disk cache then).
        parts: (N,) the source's own split, "train", "val", "test" or "" (nothing said); empty where it has none.
        groups: int64 (N,) images of one group belong on one side of a split (a patient, a product); or None.
        is_query: bool (N,) which test images are queries; or None (all are).
        is_reference: bool (N,) which test images are searched; or None.
        group_rule: which references a query is compared with by the benchmark's own protocol, as in `KNNEvaluation`.
        values: float32 (N, C, H, W), images that are numbers rather than bytes, on the scale 0..255; used as they are.
    """

    labels: NDArray[np.int64]
    class_names: list[str]
    names: Sequence[str]
    reader: Reader
    channels: Literal[1, 3] = 3
    fingerprint: str = ""
    parts: list[Part] = field(default_factory=list)
    groups: NDArray[np.int64] | None = None
    is_query: NDArray[np.bool_] | None = None
    is_reference: NDArray[np.bool_] | None = None
    values: NDArray[np.float32] | None = None
    group_rule: GroupRule = "any"

    def __len__(self) -> int:
        return len(self.labels)


class Source(ABC):
    """Where images come from. Constructing one reads nothing; `open` reads names and labels, never all pixels."""

    @abstractmethod
    def open(self) -> Catalog:
        """Find the images and their labels.

        Raises:
            UserError: nothing is there, or it does not look like what this source expects.
        """


@dataclass(frozen=True)
class ArrayReader:
    """Reads from an array (N, H, W) or (N, H, W, C) of numbers between black and white, as `to_bytes` has them."""

    array: NDArray[Any]
    black: float = 0.0
    white: float | None = None

    def __call__(self, index: int) -> Raw:
        """Look the image up."""
        image: NDArray[Any] = self.array[index]
        return image if self.white is None and self.black == 0 else to_bytes(image, self.black, self.white)


def index_labels(keys: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Give class names their numbers, in sorted order; names that are all whole numbers by their value.

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
    names = sorted(set(keys))
    if all(name.isdecimal() for name in names):
        names.sort(key=int)
    if len(names) < 2:
        only = f"one class only ({names[0]!r})" if names else "no image at all"
        raise UserError(f"{only}: a metric needs images of at least two classes, one folder (or label) each")
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[key] for key in keys], dtype=np.int64), names


@dataclass(frozen=True)
class PickReader:
    """Reads some of another reader's images."""

    reader: Reader
    keep: NDArray[np.int64]

    def __call__(self, index: int) -> Raw:
        """Read the image kept at place `index`."""
        return self.reader(int(self.keep[index]))


def take(catalog: Catalog, keep: NDArray[np.int64]) -> Catalog:
    """Keep some of the images, in the order given; class names and numbers stay."""

    def pick(values: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if values is None else values[keep]

    return Catalog(
        labels=catalog.labels[keep],
        class_names=catalog.class_names,
        names=texts_at(catalog.names, keep),
        reader=PickReader(catalog.reader, keep),
        channels=catalog.channels,
        parts=[catalog.parts[i] for i in keep] if catalog.parts else [],
        groups=pick(catalog.groups),
        is_query=pick(catalog.is_query),
        is_reference=pick(catalog.is_reference),
        values=pick(catalog.values),
        group_rule=catalog.group_rule,
    )


@dataclass(frozen=True)
class JoinedReader:
    """Reads from one reader up to a position, from another beyond it."""

    first: Reader
    second: Reader
    border: int

    def __call__(self, index: int) -> Raw:
        """Read image `index` of both."""
        return self.first(index) if index < self.border else self.second(index - self.border)


def whole_array(reader: Reader) -> NDArray[Any] | None:
    """Return all images of a reader as one array, if it holds one already (or two of a kind, joined); else None."""
    if isinstance(reader, ArrayReader):
        return reader.array if reader.white is None and reader.black == 0 else None
    if isinstance(reader, JoinedReader):
        first, second = whole_array(reader.first), whole_array(reader.second)
        if first is not None and second is not None and first.shape[1:] == second.shape[1:]:
            return np.concatenate([first, second])
    return None


def join(first: Catalog, second: Catalog) -> Catalog:
    """Put one catalog behind another; classes of one name are one class, groups stay apart.

    Raises:
        UserError: they differ in what is known about them (channels, parts, groups).
    """
    names = first.class_names
    if second.class_names != names:
        names = sorted({*names, *second.class_names})
    number = {name: i for i, name in enumerate(names)}
    if first.channels != second.channels or bool(first.parts) != bool(second.parts):
        raise UserError("two sources of different kinds cannot be joined: give sources with equal channels and parts")
    groups = None
    if first.groups is not None and second.groups is not None:
        groups = np.concatenate([first.groups, second.groups + first.groups.max() + 1])
    relabelled = [np.array([number[s.class_names[label]] for label in s.labels]) for s in (first, second)]
    return Catalog(
        labels=np.concatenate(relabelled).astype(np.int64),
        class_names=names,
        names=[*first.names, *second.names],
        reader=JoinedReader(first.reader, second.reader, len(first)),
        channels=first.channels,
        fingerprint=f"{first.fingerprint}+{second.fingerprint}" if first.fingerprint and second.fingerprint else "",
        parts=first.parts + second.parts,
        groups=groups,
    )
