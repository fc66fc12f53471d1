"""The images an artefact carries to be verified by, and the record of all validation queries; no torch here."""

from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from dml import runs
from dml.embeddings import unit_rows
from dml.errors import UserError

MOST_IMAGES, LEAST_IMAGES = 512, 16
MOST_BYTES = 2**23  # of the images inside an artefact
COSINE = 0.9999  # of a golden vector and what ONNX gives for its image, at least

_KINDS = {"embeddings": "f", "images": "u", "labels": "i", "own": "i", "hits": "f", "names": "U"}


@final
class Queries(NamedTuple):
    """Validation images as queries, and what torch found.

    Attributes:
        names: (Q,) in their source.
        labels: (Q,) indices into `classes.json`.
        own: (Q,) their own positions in the artefact's index, −1 if they are not in it.
        hits: (Q,) what `nearest_hits` gives of torch's embeddings.
    """

    names: NDArray[np.str_]
    labels: NDArray[np.int64]
    own: NDArray[np.int64]
    hits: NDArray[np.float64]

    def take(self, places: NDArray[np.int64]) -> "Queries":
        """Return some of them."""
        return Queries(self.names[places], self.labels[places], self.own[places], self.hits[places])


@final
class Golden(NamedTuple):
    """Images as bytes, uint8 (n,H,W,C), their embeddings by torch (n,D), and what is known about them as queries."""

    images: NDArray[np.uint8]
    embeddings: NDArray[np.float32]
    queries: Queries


def golden_count(image_shape: tuple[int, int, int]) -> int:
    """Return how many images of a shape (C, H, W) an artefact carries: 512, or as many as fit 8 MiB, at least 16.

    Example:
        >>> golden_count((1, 8, 8)), golden_count((3, 224, 224))
        (512, 55)
    """
    channels, height, width = image_shape
    return max(LEAST_IMAGES, min(MOST_IMAGES, MOST_BYTES // (channels * height * width)))


def write_queries(path: Path, queries: Queries, **more: NDArray[Any]) -> None:
    """Write queries, with the golden images and embeddings if they are given.

    Raises:
        UserError: The disk is full or the folder cannot be written.
    """
    runs.write_arrays(path, {**queries._asdict(), **more})


def read_queries(path: Path) -> Queries:
    """Read what `write_queries` wrote.

    Raises:
        UserError: The file is missing, damaged or of another kind.
    """
    return Queries(*_read(path, Queries._fields))


def read_golden(path: Path) -> Golden:
    """Read golden images with their embeddings.

    Raises:
        UserError: The file is missing, damaged or of another kind.
    """
    images, embeddings, *columns = _read(path, ("images", "embeddings", *Queries._fields))
    if images.ndim != 4 or embeddings.ndim != 2 or not len(images):
        raise UserError(f"{path} holds no images with embeddings: export the run again")
    return Golden(images, embeddings, Queries(*columns))


def cosines(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Return the cosine (n,) of each pair of rows, in float64; 1 for two rows of zeros.

    Example:
        >>> cosines(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 1.0], [0.0, 0.0]])).round(4)
        array([0.7071, 1.    ])
    """
    first, second = (unit_rows(rows.astype(np.float64)) for rows in (left, right))
    zeros = ~first.any(axis=1) & ~second.any(axis=1)
    return np.asarray(np.where(zeros, 1.0, (first * second).sum(axis=1)))


def agreements(left: NDArray[Any], right: NDArray[Any], metric: str) -> NDArray[np.float64]:
    """Return how well each pair of rows (n,) agrees, 1 perfectly: the cosine; under `l2` no more than length allows.

    There it is the smaller of the cosine and 1 − |a − b|² / 2|b|², which is the cosine of rows of one length.

    Example:
        >>> agreements(np.array([[2.0, 0.0]]), np.array([[1.0, 0.0]]), "l2"), agreements(np.eye(1), np.eye(1), "l2")
        (array([0.5]), array([1.]))
    """
    found = cosines(left, right)
    if metric == "cosine":
        return found
    first, second = (rows.astype(np.float64) for rows in (left, right))
    apart, size = (np.square(rows).sum(axis=1) for rows in (first - second, second))
    tiny = np.finfo(np.float64).tiny
    return np.asarray(np.minimum(found, 1 - apart / np.maximum(2 * size, tiny)))


def largest_error(left: NDArray[Any], right: NDArray[Any], metric: str) -> float:
    """Return the largest distance between two embeddings of one image, of length one under `cosine`."""
    first, second = (rows.astype(np.float64) for rows in (left, right))
    if metric == "cosine":
        first, second = unit_rows(first), unit_rows(second)
    return float(np.sqrt(np.square(first - second).sum(axis=1)).max(initial=0.0))


def _read(path: Path, names: tuple[str, ...]) -> list[NDArray[Any]]:
    arrays = runs.read_arrays(path)
    if missing := [name for name in names if name not in arrays]:
        raise UserError(f"{path} holds no {missing[0]!r}: export the run again")
    count = len(arrays[names[0]]) if arrays[names[0]].ndim else -1
    for name in names:
        if arrays[name].dtype.kind != _KINDS[name] or arrays[name].shape[:1] != (count,):
            raise UserError(f"{path} holds {name!r} of another form: export the run again")
    return [arrays[name] for name in names]
