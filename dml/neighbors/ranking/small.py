"""Ranks a block of queries against a small set, all references at once: the quickest way there.

Rows of packed numbers are sorted, and only what lies within rounding error of a positive, or of the few nearest, gets
its exact distance.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dml.functional.retrieval import Ranks, rank_positives
from dml.neighbors.exact import paired_at
from dml.neighbors.ranking.counts import sort_keys
from dml.neighbors.ranking.layout import Ints, RankingTask
from dml.neighbors.ranking.nearest import Candidates
from dml.neighbors.ranking.packed import Packed, pack
from dml.neighbors.ranking.tiles import Block

_STEPS = 16  # references in a row that products cannot tell apart; with more, exact distances are cheaper


class Settled(NamedTuple):
    """Positions (n,) of the line that were in doubt; where the run of equal distances around each begins and ends."""

    at: Ints
    begin: Ints
    end: Ints


def rank_small(task: RankingTask, block: Block, k: int | None, neighbors: int) -> tuple[Ranks, Candidates] | None:
    """Rank a block of queries as `rank_block` does; candidates have, for a distance, the number of closer references.

    Args:
        task: Queries and references, without groups.
        block: Which queries; each has a positive.
        k: Up to which place ranks are wanted: positives beyond count as farther than all others; None: all ranks.
        neighbors: How many nearest references to keep, ≤ k.

    Returns:
        None where products cannot tell too many references apart.
    """
    k = k if k is not None and k < len(task.layout.reference_order) else None
    found = pack(task, block, k, neighbors)
    if found is None:
        return None
    packed, positives = found
    number = task.layout.positives[block.low : block.high]
    first = np.arange(0, len(packed.line) - 1, packed.width)[:, None] + np.arange(k or neighbors)
    doubtful = _doubtful(packed, np.concatenate([positives, first.ravel()]))
    if doubtful is None:
        return None
    settled = _settle(task, block, packed, np.flatnonzero(doubtful))
    inside, moved = doubtful[positives], (packed.line[settled.at] & 1).astype(np.bool_)
    begin, end = positives, positives + 1
    begin[inside], end[inside] = settled.begin[moved], settled.end[moved]
    return _ranks(packed, number, begin, end), _nearest(task, packed, settled, neighbors)


def _doubtful(packed: Packed, wanted: Ints) -> NDArray[np.bool_] | None:
    """Return which numbers of the line are too close to a wanted one, or are wanted and have such a neighbour."""
    doubtful = np.zeros(len(packed.line), dtype=np.bool_)
    unsigned = f"u{packed.line.itemsize}"
    for step in (1, -1):
        at, here = wanted, packed.line[wanted]
        for count in range(_STEPS + 1):
            if not len(at):
                break
            gap = (packed.line[at + step] - here) * step
            close = np.flatnonzero(gap.view(unsigned) < packed.apart)
            close = close[(at[close] + step) // packed.width == at[close] // packed.width]  # in the same row
            if not count:
                doubtful[wanted[close]] = True
            at, here = at[close] + step, here[close]
            doubtful[at] = True
        else:
            return None
    return doubtful


def _settle(task: RankingTask, block: Block, packed: Packed, at: Ints) -> Settled:
    """Bring the numbers at positions `at` of the line into the order of their exact distances."""
    row, layout = at // packed.width, task.layout
    columns = layout.reference_order[packed.places(at)]
    exact = paired_at(task.query.embeddings, task.reference.embeddings, layout.query_order[block.low + row], columns)
    order = np.argsort(sort_keys(row, exact))
    packed.line[at], exact = packed.line[at[order]], exact[order]
    new = np.ones(len(at), dtype=np.bool_)
    new[1:] = (row[1:] != row[:-1]) | (exact[1:] != exact[:-1])
    first = np.flatnonzero(new)
    length = np.diff(first, append=len(at))
    return Settled(at, np.repeat(at[first], length), np.repeat(at[first + length - 1] + 1, length))


def _ranks(packed: Packed, number: Ints, begin: Ints, end: Ints) -> Ranks:
    """Return the ranks by where in the line the runs of equal distances around the positives begin and end."""
    row = begin // packed.width
    found = np.bincount(row, minlength=len(number))
    shape = len(number), max(1, int(found.max()))
    filled = np.arange(shape[1]) < found[:, None]
    closer, not_farther = (np.full(shape, packed.width, dtype=np.int64) for _ in range(2))
    closer[filled], not_farther[filled] = begin - row * packed.width, end - row * packed.width
    distances = np.where(filled, closer, np.inf)  # as good as distances: in their order, equal where they are
    return rank_positives(*(torch.from_numpy(part) for part in (distances, number, closer, not_farther)))


def _nearest(task: RankingTask, packed: Packed, settled: Settled, neighbors: int) -> Candidates:
    """Return the nearest references, and all as far as the last of them."""
    row = settled.at // packed.width
    at, begin, end = (part - row * packed.width for part in settled)
    width = max(neighbors, int(end[begin < neighbors].max(initial=0)))
    closer = np.tile(np.arange(width, dtype=np.float32), (len(packed.table), 1))
    inside = at < width
    closer[row[inside], at[inside]] = begin[inside]
    row, column = np.nonzero(closer <= closer[:, neighbors - 1, None])
    code = task.layout.reference_class[packed.places(row * packed.width + column)]
    return Candidates(row, closer[row, column], code, np.ones(len(row), dtype=np.int64), closer[:, :neighbors])
