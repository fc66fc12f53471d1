"""Exact squared distances of tiles at the speed of a matrix product; it knows nothing of labels or of neighbours.

The distance of two rows is *defined* as the float32 nearest to their float64 sum of squared differences, so it never
depends on tile shapes, thread counts or a BLAS. A float64 matrix product with an error bound certifies almost every
entry; the few whose bound straddles two float32 numbers are computed directly.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32] | NDArray[np.float64]
_CHUNK = 1 << 18  # float64 numbers held at once while refining: 2 MiB, in cache


class Operand(NamedTuple):
    """Rows for `squared_distances`: as given, centred in float64, their squared norms, and whether all are integers."""

    rows: Rows
    centred: NDArray[np.float64]
    norms: NDArray[np.float64]
    integral: bool


def prepare(rows: Rows, center: NDArray[np.float64] | None) -> Operand:
    """Centre rows (n,D) in float64; `center` None says that all rows are small integers, whose products are exact."""
    centred = rows.astype(np.float64)
    if center is not None:
        centred -= center
    return Operand(rows, centred, np.einsum("ij,ij->i", centred, centred), center is None)


def choose_center(*blocks: Rows) -> NDArray[np.float64] | None:
    """Return the mean row of all blocks; None for small integers, whose float64 matrix product is exact as it is."""
    largest = max(float(np.abs(block).max(initial=0)) for block in blocks)
    dim = blocks[0].shape[1]
    if 4 * dim * largest**2 < 2**53 and all(_integral(block) for block in blocks):
        return None
    total = sum(len(block) for block in blocks)
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in blocks) / total
    return np.asarray(mean, dtype=np.float32).astype(np.float64)


def _integral(rows: Rows) -> bool:
    step = max(1, _CHUNK // max(1, rows.shape[1]))
    return all(
        bool((chunk == np.rint(chunk)).all()) for chunk in (rows[i : i + step] for i in range(0, len(rows), step))
    )


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


def squared_distances(query: Operand, reference: Operand) -> NDArray[np.float32]:
    """Return all squared distances (Q,R) of two prepared sets of rows: what `paired` gives, rounded to float32.

    Example:
        >>> rows = np.array([[0.0, 0.0], [3.0, 4.0]])
        >>> block = prepare(rows, choose_center(rows))
        >>> squared_distances(block, block)
        array([[ 0., 25.],
               [25.,  0.]], dtype=float32)
    """
    product = query.centred @ reference.centred.T  # (Q, R)
    product *= -2
    product += query.norms[:, None]
    product += reference.norms
    if query.integral and reference.integral:
        return product.astype(np.float32)
    radius = np.sqrt(query.norms) + np.sqrt(reference.norms.max(initial=0))
    bound = (query.rows.shape[1] + 16) * 2.0**-53 * np.square(radius)  # (Q,): rounding of product, norms and centring
    product -= bound[:, None]
    low = product.astype(np.float32)
    product += 2 * bound[:, None]
    unsure = np.flatnonzero(low != product.astype(np.float32))
    step = max(1, _CHUNK // max(1, query.rows.shape[1]))
    flat = low.reshape(-1)
    for start in range(0, len(unsure), step):
        at = unsure[start : start + step]
        row, column = np.divmod(at, low.shape[1])
        flat[at] = paired(query.rows[row], reference.rows[column])  # rounds to float32
    return low
