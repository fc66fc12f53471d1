"""Who is nearest to whom among scored images: hubs, images whose label looks wrong, and the record a report reads."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dml.errors import UserError
from dml.neighbors import NeighborIndex
from dml.runs import write_bytes

Ints = NDArray[np.int64]
_AGREE = 0.8  # the share of neighbours on one other class that makes a label suspect


class Neighborhoods(NamedTuple):
    """The nearest references of every query, nearest first."""

    labels: Ints  # (Q,)
    ids: Ints  # (Q,)
    neighbor_labels: Ints  # (Q,k)
    neighbor_ids: Ints  # (Q,k)
    distances: NDArray[np.float64]  # (Q,k) Euclidean
    num_references: int


class Suspects(NamedTuple):
    """Queries whose neighbours agree on another class, the surest first."""

    positions: Ints  # (n,) of the queries
    proposed: Ints  # (n,) the class the neighbours agree on
    shares: NDArray[np.float64]  # (n,) of the neighbours that do


def find_neighborhoods(
    query: tuple[NDArray[np.float32], Ints, Ints], reference: tuple[NDArray[np.float32], Ints, Ints], k: int
) -> Neighborhoods:
    """Search the k nearest references of every query; a query is not its own neighbour.

    Args:
        query: Embeddings (Q,D), labels (Q,) and ids (Q,).
        reference: The same of the references; a reference with a query's id is that query.
        k: How many, ≥ 1; fewer where there are fewer references.

    Example:
        >>> rows = np.array([[0.0], [1.0], [5.0]], np.float32), np.array([0, 0, 1]), np.array([7, 8, 9])
        >>> find_neighborhoods(rows, rows, 1).neighbor_ids[:, 0]
        array([8, 7, 8])
    """
    shared = bool(np.isin(query[2], reference[2]).any())
    k = min(k, len(reference[2]) - shared)
    distances, found = NeighborIndex("l2").add(reference[0]).search(query[0], k + shared)
    if shared:
        own = reference[2][found] == query[2][:, None]
        own[~own.any(axis=1), -1] = True  # a query that is no reference, or that lies behind k equal ones
        distances, found = (table[~own].reshape(len(own), k) for table in (distances, found))
    return Neighborhoods(query[1], query[2], reference[1][found], reference[2][found], distances, len(reference[2]))


def occurrences(near: Neighborhoods, k: int = 10) -> Ints:
    """Return how often each reference (R,) is among the k nearest of a query; references never found count 0.

    Source: Radovanović, Nanopoulos, Ivanović, "Hubs in Space" (2010).

    Args:
        near: At least k neighbours a query, or as many as there are.
        k: Depth.

    Example:
        >>> near = Neighborhoods(*[np.zeros(2, int)] * 2, *[np.array([[4, 5], [4, 6]])] * 2, np.zeros((2, 2)), 3)
        >>> occurrences(near, k=1)
        array([2, 0, 0])
    """
    _, counts = np.unique(near.neighbor_ids[:, :k], return_counts=True)
    return np.concatenate([np.sort(counts)[::-1], np.zeros(near.num_references - len(counts), np.int64)])


def find_suspects(near: Neighborhoods, k: int = 10) -> Suspects:
    """Return the queries of whose k neighbours at least four fifths are of one other class.

    Such an image is labelled wrongly, shows two things, or the embedding fails on it: look at it.

    Args:
        near: At least k neighbours a query, or as many as there are.
        k: Neighbours asked.

    Example:
        >>> near = Neighborhoods(np.array([0, 1]), np.array([8, 9]), *[np.ones((2, 5), int)] * 2, np.zeros((2, 5)), 5)
        >>> find_suspects(near, k=5).positions
        array([0])
    """
    asked = near.neighbor_labels[:, :k]
    classes, codes = np.unique(asked, return_inverse=True)
    codes = codes.reshape(asked.shape)
    # the majority's class, by counting each neighbour's own class among the k
    votes = (codes[:, :, None] == codes[:, None, :]).sum(axis=2)
    best = votes.argmax(axis=1)
    rows = np.arange(len(asked))
    shares, proposed = votes[rows, best] / asked.shape[1], classes[codes[rows, best]]
    wrong = np.flatnonzero((shares >= _AGREE) & (proposed != near.labels))
    order = wrong[np.lexsort((near.distances[wrong, 0], -shares[wrong]))]
    return Suspects(order, proposed[order], shares[order])


def neighborhoods_path(run: Path, split: str) -> Path:
    """Return where a run keeps the neighbours of the queries of a split.

    Example:
        >>> neighborhoods_path(Path("runs/first"), "val").as_posix()
        'runs/first/neighbors_val.npz'
    """
    return run / f"neighbors_{split}.npz"


def write_neighborhoods(path: Path, near: Neighborhoods, **more: Any) -> None:
    """Write neighbours, and arrays that go with them (names, votes, thumbnails), whole or not at all.

    Raises:
        UserError: The disk is full or the folder cannot be written.
    """
    buffer = io.BytesIO()
    small: dict[str, Any] = {name: _small(value) for name, value in near._asdict().items()}
    np.savez_compressed(buffer, **small, **more)
    write_bytes(path, buffer.getvalue())


def read_neighborhoods(path: Path) -> tuple[Neighborhoods, dict[str, NDArray[Any]]]:
    """Read what `write_neighborhoods` wrote: the neighbours, and what goes with them by name.

    Raises:
        UserError: There is no such file, or it holds something else.

    Example:
        >>> import tempfile
        >>> near = Neighborhoods(*[np.array([3])] * 2, *[np.array([[4]])] * 2, np.array([[0.5]]), 9)
        >>> file = Path(tempfile.mkdtemp()) / "neighbors_val.npz"
        >>> write_neighborhoods(file, near, votes=5)
        >>> read_neighborhoods(file)[0].num_references
        9
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        labels, ids, near_labels, near_ids = (arrays.pop(name).astype(np.int64) for name in Neighborhoods._fields[:4])
        distances, num_references = arrays.pop("distances").astype(np.float64), int(arrays.pop("num_references"))
        near = Neighborhoods(labels, ids, near_labels, near_ids, distances, num_references)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} holds no neighbours: write it with `dml evaluate --run {path.parent}`") from error
    return near, arrays


def _small(value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype == np.float64:
        return array.astype(np.float32)
    fits = array.size == 0 or (array.min() >= -(2**31) and array.max() < 2**31)
    return array.astype(np.int32) if fits else array
