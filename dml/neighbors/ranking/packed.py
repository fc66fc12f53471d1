"""Distances of a block of queries to all references as whole numbers that sort together with what they belong to.

A number holds, from its highest bit on: the squared distance, less that of the query from the centre, rounded; the
place of the reference; and a mark on positives. Sorting such rows takes a fifth of the time of NumPy's argsort.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dml.neighbors.exact import Rows
from dml.neighbors.ranking.layout import Ints, RankingTask
from dml.neighbors.ranking.tiles import Block

_ROWS = 256  # queries multiplied and sorted at once: in cache
_GLANCE = 16  # times as many references as are wanted: looked at for a first idea of how far the nearest lie
Whole = NDArray[Any]  # int32, or int64 for float64 products


class Packed(NamedTuple):
    """Rows of numbers, one after the other, and at the end a number that is larger than all."""

    line: Whole  # (B·R + 1,)
    width: int  # R
    bits: int  # of the place and the mark
    apart: int  # numbers that differ by as much are in the order of their exact distances

    @property
    def table(self) -> Whole:
        """The rows (B,R)."""
        return self.line[:-1].reshape(-1, self.width)

    def places(self, at: Ints) -> Ints:
        """Return which references, in class order, stand at positions `at` (n,) of the line."""
        return np.asarray((self.line[at] & ((1 << self.bits) - 1)) >> 1, dtype=np.int64)


class Own(NamedTuple):
    """Where in the line the references of each query's class are, and itself."""

    at: Ints  # (n,), query after query
    edges: Ints  # (B + 1,): where in `at` each query's begin
    itself: Ints  # (B,): −1 for nowhere, which is the end of the line
    number: Ints  # (B,): how many positives there are


def pack(task: RankingTask, block: Block, k: int | None, neighbors: int) -> tuple[Packed, Ints] | None:
    """Return the rows, sorted as far as they are wanted, and where in the line the positives are, (n,).

    Args:
        task: Queries and references.
        block: Which queries; by float32 products, or by float64 ones where `products` is false.
        k: How many of the nearest references are wanted; None: all up to the farthest positive.
        neighbors: How many of the nearest are wanted at least.

    Returns:
        None where lengths are out of the ordinary.
    """
    dtype = np.float32 if block.products else np.float64
    query, reference = task.centred_queries(block.low, block.high, dtype), task.centred_references(dtype)
    norms = np.einsum("ij,ij->i", reference, reference, dtype=np.float64)
    fitted = _fit(query, len(reference), float(np.sqrt(norms.max())))
    if fitted is None:
        return None
    packed, scale = fitted
    places = np.rint(norms * scale).astype(packed.line.dtype) << packed.bits
    places += 2 * np.arange(len(reference), dtype=places.dtype)
    query *= dtype(-2 * scale)
    own, found = _own(task, block, packed), []
    room = np.empty((min(_ROWS, len(query)), len(reference)), dtype=dtype)
    for low in range(0, len(query), _ROWS):
        rows = slice(low, min(low + _ROWS, len(query)))
        part = packed.table[rows]
        products = np.matmul(query[rows], reference.T, out=room[: len(part)])
        np.copyto(part, np.rint(products, out=products), casting="unsafe")
        part <<= packed.bits
        part += places
        reach = _reach(packed, rows, own.number[rows], _mark(packed, own, rows, k), k, neighbors)
        found.append(_sort(packed, rows, reach, k))
    return packed, np.concatenate(found)


def _fit(query: Rows, count: int, most: float) -> tuple[Packed, float] | None:
    """Return room for the numbers, and what distances are multiplied by to fit into them.

    Args:
        query: (B,D).
        count: R.
        most: The largest length of a reference.
    """
    longest = float(np.sqrt(np.einsum("ij,ij->i", query, query, dtype=np.float64).max()))
    unit, whole = float(np.finfo(query.dtype).eps) / 2, np.iinfo(f"i{query.itemsize}")
    span, bits = (2 * longest + most) * most, 1 + (count - 1).bit_length()
    error = unit * ((query.shape[1] + 4) * 2 * longest * most + 4 * most**2)  # of products and norms
    if not 2.0**-60 < span < 2.0**60 or error > span / 16:
        return None
    doubt = 2 * error + 2.0**-22 * (longest + most) ** 2  # exact distances are rounded too, to float32
    scale = 2.0 ** np.floor(np.log2((2.0 ** (whole.bits - 1 - bits) - 16) / (span + 4 * doubt)))
    apart = int(doubt * scale + 2) + 1  # products and norms are rounded to whole numbers
    line = np.empty(len(query) * count + 1, dtype=whole.dtype)
    line[-1] = whole.max - 1
    return Packed(line, count, bits, apart << bits), float(scale)


def _own(task: RankingTask, block: Block, packed: Packed) -> Own:
    layout, rows = task.layout, slice(block.low, block.high)
    own, myself = layout.query_class[rows], layout.self_at[rows]
    starts = np.arange(len(own)) * packed.width
    size = np.diff(layout.starts)[own]
    edges = np.concatenate([[0], np.cumsum(size)])
    at = np.repeat(starts + layout.starts[own] - edges[:-1], size) + np.arange(edges[-1])
    return Own(at, edges, np.where(myself < 0, -1, starts + myself), layout.positives[rows])


def _mark(packed: Packed, own: Own, rows: slice, k: int | None) -> Whole:
    """Mark the positives of some queries, put each itself at the end of its row, and return a number (n,) of each row.

    It is that of the farthest positive, or of the farthest of some k of them: the k nearest references are no farther.
    """
    line, largest, edges = packed.line, packed.line[-1], own.edges[rows.start : rows.stop + 1]
    at, edges = own.at[edges[0] : edges[-1]], edges - edges[0]
    line[at] |= 1
    line[own.itself[rows]] = ~largest  # for a moment closer than all
    some = np.stack([edges[:-1], edges[1:] if k is None else np.minimum(edges[:-1] + k + 1, edges[1:])], axis=1)
    farthest = np.maximum.reduceat(np.append(line[at], largest), some.ravel())[::2]
    line[own.itself[rows]] = largest
    return np.asarray(farthest)


def _reach(packed: Packed, rows: slice, number: Ints, farthest: Whole, k: int | None, neighbors: int) -> Whole:
    """Return a number (n,) for each row, without a mark, that is surely farther than all wanted ones."""
    wanted = k or neighbors
    few = number < (packed.width if k else neighbors)  # elsewhere the nearest are no farther than the positives
    if few.any():
        near = np.partition(packed.table[rows][few, : _GLANCE * wanted], wanted - 1, axis=1)[:, wanted - 1]
        if k is None:
            near = np.maximum(near, farthest[few])
        else:
            near = np.where(number < k, near, np.minimum(near, farthest)) + packed.apart  # what may be as near
        farthest[few] = near
    return ((farthest + packed.apart) | 1) + 1


def _sort(packed: Packed, rows: slice, reach: Whole, k: int | None) -> Ints:
    """Sort each row up to its reach (n,), and return where in the line the positives are, (m,).

    Those surely not among the k nearest lose their mark.
    """
    part, beyond = packed.table[rows], reach[:, None]
    np.minimum(part, beyond, out=part)  # what is all alike takes no time to sort
    part.sort(axis=1)
    width = packed.width
    while width > 1 and (part[:, width // 2, None] >= beyond).all():
        width //= 2
    row, column = np.divmod(np.flatnonzero((part[:, :width].astype(np.uint8) & 1).view(np.bool_)), width)
    if k is not None:
        within = part[row, column] < part[row, k - 1] + packed.apart
        part[row[~within], column[~within]] -= 1
        row, column = row[within], column[within]
    return np.asarray((rows.start + row) * packed.width + column)
