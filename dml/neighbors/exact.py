"""Exact squared distances of tiles at the speed of a matrix product.

The exact squared distance of two rows is the float32 nearest to their float64 sum of squared differences, so it never
depends on tile shapes, thread counts or a BLAS. A float64 matrix product with an error bound certifies almost every
entry; the few whose bound straddles two float32 numbers are computed directly.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

Rows = NDArray[np.floating[Any]]
_CHUNK = 1 << 18  # float64 numbers held at once while refining: 2 MiB, in cache
_PRODUCTS = 1 << 17  # float64 products held at once, likewise


class Center(NamedTuple):
    """What is subtracted before a matrix product, and 4·D·max², below which a product of whole numbers is exact."""

    mean: NDArray[np.float64]
    whole: float  # infinity where some number is not whole


class Operand(NamedTuple):
    """Rows ready for a product: as given, their factors (n,D+2), lengths (n,), and the product's relative error."""

    rows: Rows
    factors: NDArray[Any]
    lengths: NDArray[np.float64]
    error: float

    def part(self, low: int, high: int) -> "Operand":
        """Return the rows `low` to `high`."""
        return Operand(self.rows[low:high], self.factors[low:high], self.lengths[low:high], self.error)


def choose_center(*blocks: Rows) -> Center:
    """Return the mean row (D,) of all blocks; zero for small whole numbers, whose products are exact as they are."""
    largest = max(float(max(-block.min(initial=0), block.max(initial=0))) for block in blocks)
    dim = blocks[0].shape[1]
    whole = 4 * dim * largest**2
    if whole < 2**53 and all(_is_whole(block) for block in blocks):
        return Center(np.zeros(dim), whole)
    total = sum(len(block) for block in blocks)
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in blocks) / total
    return Center(np.asarray(mean, dtype=np.float32).astype(np.float64), np.inf)  # equal rows become exact zeros


def prepare_query(rows: Rows, center: Center, dtype: DTypeLike = np.float64) -> Operand:
    """Return rows (n,D) as the left factor [−2x, |x|², 1] of a product that gives squared distances."""
    return _prepare(rows, center, dtype, left=True)


def prepare_reference(rows: Rows, center: Center, dtype: DTypeLike = np.float64) -> Operand:
    """Return rows (n,D) as the right factor [x, 1, |x|²] of a product that gives squared distances."""
    return _prepare(rows, center, dtype, left=False)


def largest_length(rows: Rows, center: Center) -> float:
    """Return the largest distance of a row (n,D) from the centre.

    Example:
        >>> largest_length(np.array([[3.0, 4.0], [0.0, 1.0]]), Center(np.zeros(2), 0.0))
        5.0
    """
    centred = rows - center.mean
    return float(np.sqrt(np.einsum("ij,ij->i", centred, centred).max()))


def _prepare(rows: Rows, center: Center, dtype: DTypeLike, left: bool) -> Operand:
    unit, dim = float(np.finfo(dtype).eps) / 2, rows.shape[1]
    factors = np.empty((len(rows), dim + 2), dtype=dtype)
    norms = np.empty(len(rows))
    step = max(1, _CHUNK // dim)
    for start in range(0, len(rows), step):
        centred = rows[start : start + step] - center.mean
        norms[start : start + step] = np.einsum("ij,ij->i", centred, centred)
        factors[start : start + step, :dim] = -2 * centred if left else centred
    factors[:, dim if left else dim + 1] = norms
    factors[:, dim + 1 if left else dim] = 1
    error = 0.0 if center.whole < 0.5 / unit else (dim + 16) * unit
    return Operand(rows, factors, np.sqrt(norms), error)


def _is_whole(rows: Rows) -> bool:
    step = max(1, _CHUNK // max(1, rows.shape[1]))
    return all(bool((part == np.rint(part)).all()) for part in (rows[i : i + step] for i in range(0, len(rows), step)))


def product_error(query: Operand, longest: float) -> NDArray[np.float64]:
    """Return how far (Q,) products with references up to length `longest` may be off, centring included."""
    return np.asarray(query.error * np.square(query.lengths + longest))


def paired(left: Rows, right: Rows) -> NDArray[np.float64]:
    """Return the squared distances (n,) of rows paired one to one, left (n,D) and right (n,D).

    Example:
        >>> paired(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]))
        array([25.])
    """
    difference = left.astype(np.float64)
    difference -= right
    np.square(difference, out=difference)
    return np.asarray(difference.sum(axis=1))


def paired_at(query: Rows, reference: Rows, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the exact squared distances (n,) of the pairs (row, column), in float32, a cache's worth at a time."""
    exact = np.empty(len(row), dtype=np.float32)
    step = max(1, _CHUNK // query.shape[1])
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        exact[part] = paired(query[row[part]], reference[column[part]])
    return exact


def squared_distances(query: Operand, reference: Operand) -> NDArray[np.float32]:
    """Return all squared distances (Q,R) of rows prepared in float64: what `paired` gives, rounded to float32.

    Example:
        >>> rows = np.array([[0.0, 0.0], [3.0, 4.0]])
        >>> center = choose_center(rows)
        >>> squared_distances(prepare_query(rows, center), prepare_reference(rows, center))
        array([[ 0., 25.],
               [25.,  0.]], dtype=float32)
    """
    bound = product_error(query, float(reference.lengths.max(initial=0)))[:, None]
    result = np.empty((len(query.rows), len(reference.rows)), dtype=np.float32)
    columns = max(256, _PRODUCTS // max(1, len(query.rows)))
    for start in range(0, len(reference.rows), columns):
        low = result[:, start : start + columns]
        product = query.factors @ reference.factors[start : start + columns].T  # (Q, columns)
        product -= bound
        low[:] = product
        if query.error:
            product += 2 * bound
            row, column = np.divmod(np.flatnonzero(low != product.astype(np.float32)), low.shape[1])
            low[row, column] = paired_at(query.rows, reference.rows, row, column + start)
    return result
