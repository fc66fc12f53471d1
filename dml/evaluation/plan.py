"""Cuts the work into blocks of queries and tiles of references that fit into the memory allowed; it scores nothing."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dml.errors import UserError
from dml.evaluation.problem import Ints, Problem

Flags = NDArray[np.bool_]
_BINARY = {"b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_UNITS = _BINARY | {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_PER_POSITIVE = 200  # bytes of ranks and scores for one positive of one query
_PER_DISTANCE = 120  # bytes of one distance in a tile, counting what a tile of nothing but ties takes


class Block(NamedTuple):
    """The queries `low` to `high` in class order, the references per tile, and whether to count by products."""

    low: int
    high: int
    columns: int
    products: bool


class Plan(NamedTuple):
    """All blocks, how many are worked on at once, and whether the references are kept prepared."""

    blocks: list[Block]
    workers: int
    keep: bool


def parse_memory(memory: str | int) -> int:
    """Return a number of bytes from "2GiB", "500 MB", or a number.

    Raises:
        UserError: The text is not a positive number with a unit.

    Example:
        >>> parse_memory("2GiB"), parse_memory(1024)
        (2147483648, 1024)
    """
    text = str(memory).strip().lower()
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(digits) :].strip() or "b"
    try:
        size = int(float(digits) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        size = 0
    if size <= 0:
        raise UserError(f"max_memory {memory!r} is no amount of memory: write for instance '2GiB' or '500MB'")
    return size


def make_plan(problem: Problem, memory: str | int, accelerated: bool = False) -> Plan:
    """Return blocks whose working memory, for all workers together, stays within `memory`.

    Args:
        problem: Queries and references.
        memory: Bytes, or text like "2GiB".
        accelerated: Whether an accelerator computes the tiles: larger ones, one at a time, all of exact distances.

    Raises:
        UserError: Not even one query against one reference fits.
    """
    layout, dim = problem.layout, problem.query.embeddings.shape[1]
    num_queries, num_references = len(layout.query_order), len(layout.reference_order)
    available = parse_memory(memory) - 200 * (num_queries + num_references)  # orders, codes, and one number per score
    scored = np.flatnonzero(layout.positives > 0)
    products = takes_products(layout.positives[scored], dim) & (not accelerated)
    kept = num_references * dim * (4 + (4 if products.any() else 0) + (8 if not products.all() else 0))
    keep = kept < available // 2
    available -= kept if keep else 0
    workers = 1 if accelerated else torch.get_num_threads()
    shapes = ((1024, 1 << 15),) * 2 if accelerated else ((64, 1 << 16), (256, 4096))
    classes = len(layout.starts) - 1
    per_tile = _PER_DISTANCE, 0 if keep else 32 * dim, 24 * dim + 60 * min(classes, num_references)
    blocks = _cut(layout.positives, scored, products, shapes, available // workers, per_tile, num_references)
    if not blocks:
        workers, blocks = 1, _cut(layout.positives, scored, products, shapes, available, per_tile, num_references)
    if not blocks:
        most = int(layout.positives.max())
        need = parse_memory(memory) - available + sum(per_tile) + _PER_POSITIVE * most
        raise UserError(f"max_memory {memory!r} is too small for one tile: these embeddings need at least {need} bytes")
    return Plan(blocks, workers, keep)


def takes_products(num_positives: Ints, dim: int) -> Flags:
    """Say for each query whether counting by float32 products is cheaper than sorting exact distances.

    Measured per reference: half a nanosecond for each positive, against D/60 ns for float64 products and 3 ns for
    sorting.
    """
    return np.asarray(num_positives <= 6 + dim // 14)


def _cut(
    positives: Ints,
    scored: Ints,
    products: Flags,
    shapes: tuple[tuple[int, int], tuple[int, int]],
    memory: int,
    per_tile: tuple[int, int, int],
    num_references: int,
) -> list[Block]:
    """Cut runs of scored queries into blocks that fit; an empty list says that one query alone does not."""
    blocks: list[Block] = []
    low = 0
    while low < len(scored):
        rows, columns = shapes[int(products[low])]
        rows = min(max(rows, 512), rows * max(1, columns // num_references))
        columns = min(columns, num_references)
        high = min(low + rows, len(scored))
        while not _fits(high - low, columns, int(positives[scored[high - 1]]), memory, per_tile):
            if columns > 1 and (columns > 1024 or high - low == 1):
                columns //= 2
            elif high - low > 1:
                high = low + (high - low) // 2
            else:
                return []
        run = np.flatnonzero((np.diff(scored[low:high]) > 1) | (products[low + 1 : high] != products[low]))
        high = low + int(run[0]) + 1 if len(run) else high
        blocks.append(Block(int(scored[low]), int(scored[high - 1]) + 1, columns, bool(products[low])))
        low = high
    return blocks


def _fits(rows: int, columns: int, positives: int, memory: int, per_tile: tuple[int, int, int]) -> bool:
    distance, column, row = per_tile
    return rows * (columns * distance + row + positives * _PER_POSITIVE) + columns * column <= memory
