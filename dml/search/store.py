"""The file of embedded images: rows, names, labels and what made them, mapped into memory; nothing is pickled."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from dml.embeddings import EmbeddingSet
from dml.errors import UserError, printable
from dml.search.archive import Archive, writing
from dml.search.names import Key, misnamed

FORMAT = 1
METRICS = ("l2", "cosine")
EXACT = "Flat"
_COLUMNS = ("embeddings", "labels", "ids", "names", "class_names", "root_of", "sizes", "stamps", "about")
_BLOCK = 1 << 16  # rows looked at or copied at once


@final
@dataclass(frozen=True)
class About:
    """What a store says about itself.

    Attributes:
        weights: Hash of the checkpoint that embedded the rows, and of how images are scaled for it.
        metric: The distance of the run: `l2` or `cosine`.
        run: The folder of the run.
        image_shape: (C, H, W) images are brought to.
        roots: Folders and zips that names are relative to.
        factory: The FAISS factory string of its search structure; `Flat` is an exact search of the rows.
        next_id: The id the next new image gets.
        calibration: What `dml calibrate` found for the run; see `dml.search.calibration`. None: nothing.
    """

    weights: str
    metric: str = "l2"
    run: str = ""
    image_shape: tuple[int, ...] = ()
    roots: tuple[str, ...] = ()
    factory: str = EXACT
    next_id: int = 0
    calibration: dict[str, Any] | None = None
    format: int = field(default=FORMAT)


class Row(NamedTuple):
    """What is known about one image besides its embedding."""

    root: str
    name: str
    label: str
    stamp: str
    size: tuple[int, int]
    id: int


@final
class Store:
    """A file of embeddings that `dml predict` or `dml index` wrote; arrays stay on the disk until they are looked at.

    Attributes: `about`, `embeddings` (N,D), `labels` (N,), `ids` (N,), `names` (N,), `root_of` (N,) indices into
    `about.roots`, `sizes` (N,2) heights and widths, `stamps` (N,), `class_names` ("" for images without a label),
    `codes`: the serialised search structure, uint8, empty for the exact search.

    Args:
        path: The file.
        verify: Whether all checksums are compared first, which reads the file once.

    Raises:
        UserError: There is no such file, it is damaged, or of another kind.

    Example:
        >>> Store(Path("no_such.npz"))
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no file no_such.npz: make it by `dml index` or `dml predict`, or give another
    """

    def __init__(self, path: Path, verify: bool = True) -> None:
        self.path = path
        arrays = Archive(path, verify)
        foreign = f"{path} is not an index: make one with `dml index RUN --add FOLDER`"
        if missing := set(_COLUMNS) - set(arrays):
            raise UserError(f"{foreign} (it holds no {min(missing)!r})")
        self.about = read_about(bytes(arrays["about"][: 1 << 24]), foreign)
        self.embeddings: NDArray[np.float32] = arrays["embeddings"]
        self.labels, self.ids, self.root_of, self.sizes = (
            arrays[name] for name in ("labels", "ids", "root_of", "sizes")
        )
        self.names, self.stamps = arrays["names"], arrays["stamps"]
        self.class_names = [str(name) for name in arrays["class_names"]]
        self.codes: NDArray[np.uint8] = arrays["codes"] if "codes" in arrays else np.empty(0, np.uint8)
        if wrong := self._misfit():
            raise UserError(f"{foreign} ({wrong})")

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def dim(self) -> int:
        """D, the size of an embedding."""
        return int(self.embeddings.shape[1])

    def keys(self) -> list[Key]:
        """Return root and name of every row."""
        roots = self.about.roots
        return [(roots[at], name) for at, name in zip(self.root_of.tolist(), self.names.tolist(), strict=True)]

    def row(self, position: int) -> Row:
        """Return what is known about one row."""
        return self.rows(np.array([position]))[0]

    def rows(self, positions: NDArray[np.int64]) -> list[Row]:
        """Return what is known about rows (n,)."""
        columns = (self.root_of, self.names, self.labels, self.stamps, self.sizes, self.ids)
        roots, classes = self.about.roots, self.class_names
        return [
            Row(roots[root], name, classes[label], stamp, (size[0], size[1]), number)
            for root, name, label, stamp, size, number in zip(
                *(column[positions].tolist() for column in columns), strict=True
            )
        ]

    def as_set(self) -> EmbeddingSet:
        """Return the rows as an `EmbeddingSet`, in memory."""
        return EmbeddingSet(
            np.array(self.embeddings), np.array(self.labels), np.array(self.ids), self.names, self.class_names
        )

    def _misfit(self) -> str:
        """Return what is wrong with the form of the columns; nothing if they are as `write_store` writes them."""
        rows = self.embeddings
        if rows.ndim != 2 or rows.dtype != np.float32 or not rows.shape[1]:
            return f"its embeddings are {rows.dtype} of shape {rows.shape}"
        count = len(rows)
        shapes = {"labels": (count,), "ids": (count,), "root_of": (count,), "sizes": (count, 2)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape or getattr(self, name).dtype.kind != "i":
                return f"its {name} have shape {getattr(self, name).shape} for {count} rows"
        for name in ("names", "stamps"):
            if getattr(self, name).shape != (count,) or getattr(self, name).dtype.kind != "U":
                return f"its {name} are not text for each of {count} rows"
        if self.codes.dtype != np.uint8 or self.codes.ndim != 1:
            return "its codes are not bytes"
        for name, most in (("labels", len(self.class_names)), ("root_of", len(self.about.roots))):
            values = getattr(self, name)
            if count and not 0 <= values.min() <= values.max() < most:
                return f"its {name} run from {values.min()} to {values.max()}, with {most} to choose from"
        for start in range(0, count, _BLOCK):
            if not np.isfinite(rows[start : start + _BLOCK]).all():
                return "its embeddings hold NaN or infinity"
            names = self.names[start : start + _BLOCK]
            for name in names[(np.char.find(names, "..") >= 0) | np.char.startswith(names, "/")]:
                if wrong := misnamed(str(name)):
                    return wrong
        return ""


def read_about(content: bytes, foreign: str) -> About:
    """Return what a store says about itself.

    Args:
        content: JSON.
        foreign: The message if it cannot be read.

    Raises:
        UserError: It cannot be read, or is of another format.
    """
    try:
        told = json.loads(content.decode())
        about = About(**told | {key: tuple(told[key]) for key in ("roots", "image_shape")})
        texts = (about.weights, about.metric, about.run, about.factory, *about.roots)
        fits = all(isinstance(text, str) for text in texts) and about.metric in METRICS
        fits &= all(isinstance(number, int) for number in (about.next_id, about.format, *about.image_shape))
        fits &= about.calibration is None or isinstance(about.calibration, dict)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{foreign} (what it says about itself cannot be read)") from error
    if not fits:
        raise UserError(f"{foreign} (what it says about itself cannot be read)")
    if about.format != FORMAT:
        raise UserError(f"{foreign} (it is of format {about.format}, this version reads {FORMAT})")
    return about


def write_store(
    path: Path,
    about: About,
    rows: Sequence[Row],
    blocks: Iterable[NDArray[np.float32]],
    dim: int,
    codes: Any = None,
) -> None:
    """Write a store whole or not at all; embeddings come block by block.

    Args:
        path: The file; one that is there is replaced once the new one is whole.
        about: What it says about itself; its roots are completed.
        rows: (N,) what is known about each image.
        blocks: Embeddings of all rows, in order.
        dim: D.
        codes: uint8, a serialised search structure; None: the exact search.

    Raises:
        UserError: The disk is full or the folder cannot be written; what was there stays as it was.
    """
    classes = {name: at for at, name in enumerate(sorted({row.label for row in rows}))}
    roots = {root: at for at, root in enumerate(dict.fromkeys(row.root for row in rows))}
    said = asdict(about) | {"roots": list(roots)}
    with writing(path) as archive:
        archive.add("about", np.frombuffer(json.dumps(said).encode(), np.uint8))
        archive.add("labels", np.fromiter((classes[row.label] for row in rows), np.int64, len(rows)))
        archive.add("ids", np.fromiter((row.id for row in rows), np.int64, len(rows)))
        archive.add("root_of", np.fromiter((roots[row.root] for row in rows), np.int32, len(rows)))
        archive.add("sizes", np.array([row.size for row in rows], np.int32).reshape(-1, 2))
        archive.add("class_names", np.array(list(classes), np.str_))
        for name, values in (("names", [row.name for row in rows]), ("stamps", [row.stamp for row in rows])):
            kind = f"<U{max(map(len, values), default=1) or 1}"
            parts = (np.array(values[at : at + _BLOCK], kind) for at in range(0, len(values), _BLOCK))
            archive.add_blocks(name, kind, (len(values),), parts)
        archive.add_blocks("embeddings", np.float32, (len(rows), dim), _finite(blocks, rows))
        if codes is not None:
            archive.add("codes", codes)


def _finite(blocks: Iterable[NDArray[np.float32]], rows: Sequence[Row]) -> Iterator[NDArray[np.float32]]:
    at = 0
    for block in blocks:
        wrong = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if len(wrong):
            name = printable(rows[at + int(wrong[0])].name)
            raise UserError(f"{len(wrong)} embeddings hold NaN or infinity, first of '{name}': train the run again")
        yield block
        at += len(block)
