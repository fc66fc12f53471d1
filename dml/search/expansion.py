"""Query expansion and database augmentation: moves rows towards their nearest references."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dml.embeddings import unit_rows

Floats = NDArray[np.float64]
Search = Callable[[NDArray[np.floating], int], tuple[Floats, NDArray[np.int64]]]  # rows, k -> distances, positions
Rows = Callable[[NDArray[np.int64]], Floats]  # positions -> rows of the index, in its metric
_BLOCK = 2048  # rows at once


def expand_queries(
    queries: Floats, rows: Rows, neighbours: NDArray[np.int64], alpha: float = 3.0, unit: bool = True
) -> Floats:
    """Return means (Q,D) of queries and their neighbours: (q + Σ wᵢ xᵢ) / (1 + Σ wᵢ), wᵢ = max(cos(q,xᵢ), 0)^α.

    Radenović, Tolias, Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation" (2018), section 3.2.

    Args:
        queries: (Q,D).
        rows: Gives rows of the index by their positions.
        neighbours: (Q,n) positions of each query's nearest rows.
        alpha: At least 0; the larger, the less far neighbours count. 0 is the plain mean.
        unit: Whether the means are brought to length one, as under `cosine`.

    Example:
        >>> table = np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> expand_queries(np.array([[1.0, 0.0]]), table.__getitem__, np.array([[1, 0]]))
        array([[1., 0.]])
    """
    near = rows(neighbours.ravel()).reshape(*neighbours.shape, -1)  # (Q,n,D)
    cosines = np.einsum(
        "qd,qnd->qn", unit_rows(queries), unit_rows(near.reshape(-1, near.shape[2])).reshape(near.shape)
    )
    weights = np.maximum(cosines, 0) ** alpha
    means = (queries + np.einsum("qn,qnd->qd", weights, near)) / (1 + weights.sum(axis=1, keepdims=True))
    return np.asarray(unit_rows(means) if unit else means)


def augment_rows(
    count: int, rows: Rows, search: Search, num_neighbours: int, alpha: float = 3.0, unit: bool = True
) -> NDArray[np.float32]:
    """Return every row of an index (N,D) as the weighted mean of itself and its nearest others (DBA).

    Arandjelović and Zisserman, "Three things everyone should know to improve object retrieval" (2012); weights as in
    `expand_queries`.

    Args:
        count: N.
        rows: Gives rows by their positions.
        search: Finds nearest rows, a row itself among them.
        num_neighbours: n, at most N − 1.
        alpha: As in `expand_queries`.
        unit: Likewise.
    """
    blocks = []
    for start in range(0, count, _BLOCK):
        places = np.arange(start, min(start + _BLOCK, count))
        own = rows(places)
        _, found = search(own, num_neighbours + 1)
        is_self = found == places[:, None]
        is_self[~is_self.any(axis=1), -1] = True  # behind equal ones
        others = found[~is_self].reshape(len(places), num_neighbours)
        blocks.append(expand_queries(own, rows, others, alpha, unit).astype(np.float32))
    return np.concatenate(blocks)
