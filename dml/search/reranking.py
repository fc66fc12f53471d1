"""k-reciprocal re-ranking on neighbour lists: what the dense algorithm gives, without a matrix of all pairs.

Zhong, Zheng, Cao, Li, "Re-ranking Person Re-identification with k-reciprocal Encoding" (2017). Queries and references
are one set of M rows, as in the authors' code. Each row i is described by its k-reciprocal neighbours: V(i,j) =
exp(−d²(i,j)/s(i)) over the set, normalised, s(i) the largest squared distance from i; V is averaged over the k2 nearest
rows. The distance of query and reference is (1−λ)·Jaccard + λ·d²/s.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dml.errors import UserError
from dml.ranges import check_number
from dml.search.expansion import Floats, Rows, Search

if TYPE_CHECKING:  # SciPy is loaded where images are re-ranked: a search in an exported folder lacks it
    from scipy import sparse

Ints = NDArray[np.int64]


class Reranking(NamedTuple):
    """The paper's parameters: neighbours that may be reciprocal, rows averaged over, share of the plain distance."""

    k1: int = 20
    k2: int = 6
    weight: float = 0.3


def rerank(
    queries: Floats,
    rows: Rows,
    count: int,
    search: Search,
    k: int,
    settings: Reranking = Reranking(),  # noqa: B008 - a tuple of numbers
    max_memory: int = 1 << 30,
) -> tuple[Floats, Ints]:
    """Return re-ranked distances, ascending, and positions (Q,k) of the references nearest to queries.

    Queries in one call form a single set with the references: they may be each other's neighbours.

    Args:
        queries: (Q,D), in the metric of the index: of length one under `cosine`.
        rows: Gives references by their positions.
        count: N.
        search: Finds nearest references, with their squared distances.
        k: At most N.
        settings: k1, k2 and λ.
        max_memory: Bytes for lists and blocks, beyond the index.

    Raises:
        UserError: The numbers are out of range, or the lists alone take more than `max_memory`.
    """
    check_number("k1", settings.k1, least=1)
    check_number("k2", settings.k2, least=1, most=settings.k1 + 1)
    check_number("weight", settings.weight, least=0, most=1)
    total = len(queries) + count
    length = min(settings.k1 + 1, total)
    if total * (8 * length + 2 * length + 16) > max_memory:
        needed = total * (10 * length + 16)
        raise UserError(f"re-ranking {total:,} images takes {needed:,} bytes for neighbour lists: raise max_memory")

    def joint(places: Ints) -> Floats:
        out = np.empty((len(places), queries.shape[1]))
        asked = places < len(queries)
        out[asked] = queries[places[asked]]
        out[~asked] = rows(places[~asked] - len(queries))
        return out

    block = max(16, min(4096, max_memory // (64 * length**3 + 64 * length * queries.shape[1])))
    lists = np.concatenate([_lists(joint(part), part, queries, search, count, length) for part in _parts(total, block)])
    encoder = _Encoder(joint, lists, _largest(joint, total, block), settings, block)
    asked = encoder.averaged(np.arange(len(queries)))
    best = _Best(len(queries), k)
    near = search(queries, k)[1]
    for query in range(len(queries)):  # what shares no neighbour is ordered by its own distance
        best.add(query, encoder.final(query, near[query] + len(queries), np.zeros(k)), near[query])
    for part in _parts(count, block):
        shared = _sum_of_minima(asked, encoder.averaged(part + len(queries)))
        for query in range(len(queries)):
            inner = slice(shared.indptr[query], shared.indptr[query + 1])
            places = part[shared.indices[inner]]
            best.add(query, encoder.final(query, places + len(queries), shared.data[inner]), places)
    return best.distances, best.positions


class _Best:
    """Keeps the k smallest of each query, equal ones by position; a repeated position keeps its smaller value."""

    def __init__(self, num_queries: int, k: int) -> None:
        self.distances, self.positions = np.full((num_queries, k), np.inf), np.full((num_queries, k), -1, np.int64)

    def add(self, query: int, keys: Floats, positions: Ints) -> None:
        """Take more references of one query."""
        keys = np.concatenate([self.distances[query], keys])
        positions = np.concatenate([self.positions[query], positions])
        order = np.lexsort((positions, keys))
        _, first = np.unique(positions[order], return_index=True)
        order = order[np.sort(first)]
        order = order[positions[order] >= 0][: self.distances.shape[1]]
        self.distances[query, : len(order)], self.positions[query, : len(order)] = keys[order], positions[order]


class _Encoder:
    """Describes rows of the joint set by their k-reciprocal neighbours."""

    def __init__(self, joint: Rows, lists: Ints, largest: Floats, settings: Reranking, block: int) -> None:
        self.joint, self.lists, self.largest, self.settings = joint, lists, largest, settings
        half = round(settings.k1 / 2) + 1  # as the authors' code rounds
        parts = list(_parts(len(lists), block))
        self.mutual = np.concatenate([self._mutual(part, lists.shape[1]) for part in parts])  # (M,k1+1)
        self.half = np.concatenate([self._mutual(part, min(half, lists.shape[1])) for part in parts])

    def averaged(self, places: Ints) -> "sparse.csr_array":
        """Return rows of V (n,M), each the mean over its k2 nearest rows."""
        from scipy import sparse

        if self.settings.k2 == 1:
            return self._rows(places)
        near = self.lists[places, : self.settings.k2]
        needed, at = np.unique(near, return_inverse=True)
        values = np.full(near.size, 1 / near.shape[1])
        mean = sparse.csr_array(
            (values, at.ravel(), np.arange(0, near.size + 1, near.shape[1])), (len(places), len(needed))
        )
        return sparse.csr_array(mean @ self._rows(needed))

    def distances(self, left: Ints, right: Ints) -> Floats:
        """Return d²/s (n,) of pairs of rows."""
        out = np.empty(len(left))
        for start in range(0, len(left), 1 << 14):
            part = slice(start, start + (1 << 14))
            out[part] = np.square(self.joint(left[part]) - self.joint(right[part])).sum(axis=1)
        return out / self.largest[left]

    def final(self, query: int, places: Ints, overlap: Floats) -> Floats:
        """Return re-ranked distances (n,) of one query and rows of the joint set, from the sums of minima."""
        own = self.distances(np.full(len(places), query), places)
        return (1 - self.settings.weight) * (1 - overlap / (2 - overlap)) + self.settings.weight * own

    def _rows(self, places: Ints) -> "sparse.csr_array":
        """Return rows of V (n,M) as they are."""
        from scipy import sparse

        lists, mutual, total = self.lists[places], self.mutual[places], len(self.lists)
        others = self.lists[lists][:, :, : self.half.shape[1]]  # (n,k1+1,h): half-length lists of the neighbours
        theirs = self.half[lists]  # which of these are mutual
        ours = ((others[..., None] == lists[:, None, None, :]) & mutual[:, None, None, :]).any(axis=3)
        shared, size = (ours & theirs).sum(axis=2), theirs.sum(axis=2)
        joins = mutual & (shared > 2 / 3 * size)
        kept = theirs & joins[:, :, None]
        row = np.concatenate([np.nonzero(mutual)[0], np.nonzero(kept)[0]])
        column = np.concatenate([lists[mutual], others[kept]])
        row, column = np.divmod(np.unique(row * total + column), total)
        weights = np.exp(-self.distances(places[row], column))
        sums = np.bincount(row, weights, len(places))
        return sparse.csr_array((weights / sums[row], (row, column)), shape=(len(places), total))

    def _mutual(self, places: Ints, length: int) -> NDArray[np.bool_]:
        """Tell which of the first neighbours (n,length) have the row among their own."""
        near = self.lists[places, :length]
        return np.asarray((self.lists[near][:, :, :length] == places[:, None, None]).any(axis=2))


def _sum_of_minima(left: "sparse.csr_array", right: "sparse.csr_array") -> "sparse.csr_array":
    """Return Σ over columns of the smaller of both (Q,n), where it is not 0."""
    from scipy import sparse

    columns = sparse.csc_array(right)
    entry = sparse.coo_array(left)
    row, column = entry.coords
    size = np.diff(columns.indptr)[column]
    place = np.repeat(columns.indptr[column] - np.cumsum(size) + size, size) + np.arange(size.sum())
    smaller = np.minimum(np.repeat(entry.data, size), columns.data[place])
    shape = (left.shape[0], right.shape[0])
    return sparse.csr_array((smaller, (np.repeat(row, size), columns.indices[place])), shape=shape)


def _lists(own: Floats, places: Ints, queries: Floats, search: Search, count: int, length: int) -> Ints:
    """Return the nearest rows (n,length) of the joint set, each row itself first."""
    near, found = search(own, min(length, count))
    gaps = np.stack([np.square(own - query).sum(axis=1) for query in queries], axis=1)  # (n,Q)
    keys = np.hstack([gaps, near])
    joint = np.hstack([np.broadcast_to(np.arange(len(queries)), gaps.shape), found + len(queries)])
    keys[joint == places[:, None]] = -1
    order = np.lexsort((joint, keys), axis=1)[:, :length]
    return np.take_along_axis(joint, order, 1)


def _largest(joint: Rows, total: int, block: int) -> Floats:
    """Return the largest squared distance (M,) of each row from any other: the farthest by products, then exactly."""
    largest, farthest = np.full(total, -np.inf), np.zeros(total, np.int64)
    for right in _parts(total, block):
        others = joint(right).astype(np.float32)
        norms = np.square(others).sum(axis=1)
        for left in _parts(total, block):
            table = norms - 2 * (joint(left).astype(np.float32) @ others.T)
            at = table.argmax(axis=1)
            value = table[np.arange(len(left)), at]
            more = value > largest[left]
            largest[left[more]], farthest[left[more]] = value[more], right[at[more]]
    exact = [np.square(joint(part) - joint(farthest[part])).sum(axis=1) for part in _parts(total, block)]
    return np.asarray(np.maximum(np.concatenate(exact), np.finfo(np.float64).tiny))


def _parts(count: int, size: int) -> Iterator[Ints]:
    return (np.arange(start, min(start + size, count)) for start in range(0, count, size))
