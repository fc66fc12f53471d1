"""Search structures of a store: none for the exact search, else what FAISS builds from a factory string, measured."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dml.embeddings import unit_rows
from dml.errors import UserError
from dml.neighbors.approximate import ApproximateIndex
from dml.neighbors.index import NeighborIndex
from dml.search.store import EXACT, About, Store

Floats = NDArray[np.float32]
Blocks = Callable[[int], Iterator[Floats]]  # embeddings from a row on, block by block
K = 10  # neighbours of which recall is measured
_QUERIES = 500
_SAMPLE = 100_000  # rows at least that a structure is trained on, where there are so many
_PER_CLUSTER = 64
_ENOUGH = 0.95  # recall at which no more effort is tried


class Measured(NamedTuple):
    """How a structure does at one effort, with the store's own rows as queries, each without itself.

    Attributes:
        name: Its factory string and effort.
        recall: Share of the 10 nearest images that are found, refined by exact distances of the candidates.
        unrefined: The same by the codes alone.
        milliseconds: Of one query, asked among many.
        bytes: Of codes for one vector; the rows on the disk are not counted.
    """

    name: str
    recall: float
    unrefined: float
    milliseconds: float
    bytes: float


def num_candidates(k: int, count: int) -> int:
    """Return how many candidates of an approximate search are compared exactly.

    Example:
        >>> num_candidates(5, 10_000), num_candidates(50, 10_000)
        (100, 500)
    """
    return min(count, max(10 * k, 100))


def encode(
    about: About, count: int, dim: int, blocks: Blocks, old: Store | None, origin: NDArray[np.int64]
) -> tuple[NDArray[np.uint8] | None, list[Measured]]:
    """Return the serialised structure of a store about to be written, and its figures; nothing for the exact search.

    What an older structure of the store has learnt is kept; if rows are only appended, only these are added.

    Args:
        about: Of the store to be.
        count: N.
        dim: D.
        blocks: Its embeddings.
        old: The store it follows.
        origin: (N,2) source and row of each embedding; source 0 is the old store.

    Raises:
        UserError: FAISS cannot make such a structure of so few or such rows.
    """
    if about.factory == EXACT:
        return None, []
    cosine = about.metric == "cosine"

    def rows(start: int = 0) -> Iterator[Floats]:
        return (unit_rows(block) if cosine else block for block in blocks(start))

    first = 0
    if old is not None and old.about.factory == about.factory and len(old.codes):
        index = ApproximateIndex.of_codes(about.factory, old.codes, dim, len(old))
        first = len(old)
        appended = count >= first and (origin[:first] == np.stack([np.zeros(first), np.arange(first)], 1)).all()
        if not appended:
            index.clear()
            first = 0
    else:
        index = ApproximateIndex(about.factory, dim)
        index.train(_sample(rows(), count, max(_SAMPLE, _PER_CLUSTER * index.num_clusters)))
    for block in rows(first):
        index.add(block)
    if len(index) != count:
        raise UserError(f"the structure {about.factory!r} holds {len(index)} of {count} images: make the index again")
    measured = tune(index, rows, count)
    return index.codes(), measured


def tune(index: ApproximateIndex, rows: Blocks, count: int) -> list[Measured]:
    """Raise the effort of a search until it finds enough; return what it does at each effort tried.

    Args:
        index: Of all rows; its effort is left at the first that reaches a recall of 0.95, or the last tried.
        rows: Its rows, as they were added.
        count: N.
    """
    k = min(K, count - 1)
    if k < 1:
        return []
    places = np.sort(np.random.default_rng(1).choice(count, min(_QUERIES, count), replace=False))
    queries = _take(rows(0), places)
    began = time.perf_counter()
    _, exact = search_blocks(((at, block) for at, block in _numbered(rows(0))), queries, k + 1, "l2")
    took = 1000 * (time.perf_counter() - began) / len(queries)
    truth = _without_self(exact, places)
    measured = [Measured(f"{EXACT} (exact)", 1.0, 1.0, took, 4.0 * queries.shape[1])]
    size = len(index.codes()) / count
    efforts = [1 << power for power in range(11)]
    if index.effort_name == "nprobe":
        efforts = [effort for effort in efforts if effort < 2 * index.num_clusters]
    elif index.effort_name == "efSearch":
        efforts = efforts[4:]
    else:
        efforts = [0]
    for effort in efforts:
        if effort:
            index.effort = effort
        began = time.perf_counter()
        found = index.search(queries, num_candidates(k, count))
        took = 1000 * (time.perf_counter() - began) / len(queries)
        others = _without_self(found, places)
        name = f"{index.factory} {index.effort_name}={effort}" if effort else index.factory
        measured.append(Measured(name, _recall(others, truth), _recall(others[:, :k], truth), took, size))
        if measured[-1].recall >= _ENOUGH:
            break
    return measured


def search_blocks(
    blocks: Iterable[tuple[int, Floats]], queries: NDArray[Any], k: int, metric: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return exact distances and positions (Q,k) over rows that come block by block, equal distances by position.

    Args:
        blocks: Pairs of the position of a block's first row, and its rows.
        queries: (Q,D).
        k: At most as many as there are rows.
        metric: `l2` or `cosine`.

    Example:
        >>> blocks = [(0, np.array([[0.0], [5.0]], np.float32)), (2, np.array([[1.0]], np.float32))]
        >>> search_blocks(blocks, np.array([[0.2]]), 2, "l2")[1]
        array([[0, 2]])
    """
    distances: NDArray[np.float64] = np.empty((len(queries), 0))
    positions: NDArray[np.int64] = np.empty((len(queries), 0), np.int64)
    for start, block in blocks:
        near, at = NeighborIndex(metric).add(block).search(queries, min(k, len(block)))
        distances, positions = np.hstack([distances, near]), np.hstack([positions, at + start])
        order = np.lexsort((positions, distances), axis=1)[:, :k]
        distances = np.take_along_axis(distances, order, 1)
        positions = np.take_along_axis(positions, order, 1)
    return distances, positions


def _numbered(blocks: Iterable[Floats]) -> Iterator[tuple[int, Floats]]:
    """Yield larger blocks, worth starting a search for, each with the position of its first row."""
    start, waiting = 0, list[Floats]()
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= 1 << 16:
            whole = np.concatenate(waiting)
            yield start, whole
            start, waiting = start + len(whole), []
    if waiting:
        yield start, np.concatenate(waiting)


def _sample(blocks: Iterable[Floats], count: int, most: int) -> Floats:
    places = np.arange(count)
    if count > most:
        places = np.sort(np.random.default_rng(0).choice(count, most, replace=False))
    return _take(blocks, places)


def _take(blocks: Iterable[Floats], places: NDArray[np.int64]) -> Floats:
    """Return the rows at ascending places."""
    taken, start = [], 0
    for block in blocks:
        low, high = np.searchsorted(places, [start, start + len(block)])
        taken.append(block[places[low:high] - start])
        start += len(block)
    return np.concatenate(taken)


def _without_self(found: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (Q,k−1) positions without each query's own, or without the last if it is not there."""
    own = found == places[:, None]
    own[~own.any(axis=1), -1] = True
    return np.asarray(found[~own].reshape(len(found), -1))


def _recall(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    hits = [len(np.intersect1d(row, true)) for row, true in zip(found, truth, strict=True)]
    return float(sum(hits)) / truth.size
