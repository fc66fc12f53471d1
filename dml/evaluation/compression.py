"""Smaller embeddings: fewer coordinates, fewer bits each, and what that costs in retrieval."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dml.embeddings import EmbeddingSet, unit_rows
from dml.errors import UserError
from dml.evaluation.intervals import Difference, paired_difference
from dml.evaluation.per_query import QueryScores, mean_scores
from dml.evaluation.retrieval import score_queries

Floats = NDArray[np.float64]
Way = Literal["cut", "pca"]
WAYS: tuple[Way, ...] = ("cut", "pca")
FULL_BITS = 32  # float32, as embeddings are
SCORES = ("recall_at_1", "map_at_r")
_CLIPPED = (0.0, 0.001, 0.005, 0.02, 0.05)  # shares of the training values on either side that are tried
_FITTED = 20_000  # training embeddings are enough


class Projection(NamedTuple):
    """A linear map to fewer dimensions: (rows − mean) @ axes."""

    mean: Floats  # (D,)
    axes: Floats  # (D,d)

    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return rows (n,d) of rows (n,D)."""
        return np.asarray((rows - self.mean) @ self.axes, dtype=np.float32)


class Codebook(NamedTuple):
    """For each coordinate, where its codes begin and what each stands for."""

    borders: Floats  # (d, levels − 1), ascending
    values: Floats  # (d, levels)

    def rounded(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return rows (n,d) as they come back from their codes.

        Example:
            >>> Codebook(np.array([[0.0]]), np.array([[-1.0, 2.0]])).rounded(np.array([[0.3], [-9.0]]))
            array([[ 2.], [-1.]], dtype=float32)
        """
        columns = zip(self.borders, self.values, rows.T, strict=True)
        found = [values[np.searchsorted(borders, column)] for borders, values, column in columns]
        return np.asarray(np.stack(found, axis=1), dtype=np.float32)


class Compressed(NamedTuple):
    """One way to store embeddings, its scores, and their differences from the full embedding."""

    way: Way
    dims: int
    bits: int
    bytes: int  # of one stored embedding
    scores: dict[str, float]
    changes: dict[str, Difference]


def fit_projection(train: EmbeddingSet, dims: int, way: Way, metric: str = "l2") -> Projection:
    """Return the map to the first `dims` coordinates (`cut`), or to the principal axes of training embeddings (`pca`).

    Axes are those of the largest variance for `l2`, and of the largest mean square of embeddings of length one for
    `cosine`, whose origin must stay.

    Args:
        train: Training embeddings (N,D).
        dims: d ≤ D.
        way: `cut` or `pca`.
        metric: `l2` or `cosine`.

    Raises:
        UserError: More dimensions than the embedding has.

    Example:
        >>> rows = EmbeddingSet([[0.0, -3.0], [0.1, 3.0]], [0, 1])
        >>> fit_projection(rows, 1, "cut")(rows.embeddings).T, fit_projection(rows, 1, "pca").axes.round(1).T
        (array([[0. , 0.1]], dtype=float32), array([[0., 1.]]))
    """
    size = train.dim
    if not 1 <= dims <= size:
        raise UserError(f"{dims} of --dims, and the embedding has {size}: give at most as many")
    if way == "cut":
        return Projection(np.zeros(size), np.eye(size)[:, :dims])
    rows = train.spread_evenly(_FITTED).in_metric(metric).embeddings.astype(np.float64)
    mean = rows.mean(axis=0) if metric == "l2" else np.zeros(size)
    vectors = np.linalg.eigh((rows - mean).T @ (rows - mean))[1]
    axes = vectors[:, ::-1][:, :dims]
    return Projection(mean, axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(dims)]))


def fit_codebook(train: NDArray[Any], bits: int) -> Codebook:
    """Return, for each coordinate, 2^bits codes fitted to training embeddings (N,d).

    With one bit: the side of the mean on which a value lies, standing for the mean of that side. With more: steps of
    equal width, between two quantiles of the training values that leave the least squared error.

    Args:
        train: Training embeddings (N,d), projected.
        bits: 1 to 16.

    Raises:
        UserError: Bits out of range.

    Source: Jégou et al., "Asymmetric Hamming Embedding" (2011), for one bit; the scalar quantiser of FAISS for more.

    Example:
        >>> fit_codebook(np.array([[0.0], [1.0], [4.0], [5.0]]), bits=1)
        Codebook(borders=array([[2.5]]), values=array([[0.5, 4.5]]))
    """
    if not 1 <= bits <= 16:
        raise UserError(f"{bits} of --bits: give 32 (float32), or 1 to 16")
    train = np.asarray(train, dtype=np.float64)
    if bits == 1:
        border = train.mean(axis=0)
        above = train > border
        sides = [(train * side).sum(axis=0) / np.maximum(side.sum(axis=0), 1) for side in (~above, above)]
        high = np.where(above.any(axis=0), sides[1], border)
        return Codebook(border[:, None], np.stack([sides[0], high], axis=1))
    books = (_even_steps(np.quantile(train, [clipped, 1 - clipped], axis=0), 2**bits) for clipped in _CLIPPED)
    return min(books, key=lambda book: float(np.square(book.rounded(train) - train).sum()))  # two at a time in memory


def compress(
    query: EmbeddingSet,
    reference: EmbeddingSet,
    train: EmbeddingSet,
    dims: Sequence[int],
    bits: Sequence[int],
    ways: Sequence[Way] = WAYS,
    metric: str = "l2",
    level: float = 0.95,
    max_memory: str | int = "2GiB",
) -> tuple[dict[str, float], list[Compressed]]:
    """Return the scores of the full embedding, and those of every way, size and number of bits beside it.

    References are what an index stores: they are projected and rounded to codes. Queries are projected and not rounded
    (asymmetric distances). In `cosine`, both are brought to length one afterwards.

    Args:
        query: The queries.
        reference: What they search; the same object for leave-one-out.
        train: Training embeddings, which projections and codes are fitted to.
        dims: Sizes, each at most that of the embedding.
        bits: Of a coordinate: 32, or 1 to 16.
        ways: `cut` takes the first coordinates, `pca` the principal axes.
        metric: `l2` or `cosine`.
        level: Of the intervals of the differences, paired by query, with classes as units.
        max_memory: For the search, beyond the embeddings.

    Raises:
        UserError: Sizes or bits out of range.

    Example:
        >>> rows = EmbeddingSet([[0.0, 1.0], [0.1, 1.0], [1.0, 1.0], [1.2, 1.0]], [0, 0, 1, 1])
        >>> full, found = compress(rows, rows, rows, dims=[1], bits=[8], ways=["cut"])
        >>> full["recall_at_1"], found[0].scores["recall_at_1"], found[0].bytes
        (1.0, 1.0, 1)
    """

    def scored(queries: EmbeddingSet, references: EmbeddingSet) -> QueryScores:
        return score_queries(queries, references, ks=(1,), knn_ks=(1,), max_memory=max_memory, metric=metric)

    full = scored(query, reference)
    found = []
    for way in ways:
        for size in dims:
            project = fit_projection(train, size, way, metric)
            learnt = project(_in_space(train.spread_evenly(_FITTED), way, metric))
            queries = _with_rows(query, project(_in_space(query, way, metric)))
            stored = project(_in_space(reference, way, metric))
            for each in bits:
                rows = stored if each == FULL_BITS else fit_codebook(learnt, each).rounded(stored)
                table = scored(queries, _with_rows(reference, rows))
                scores = mean_scores(table)
                changes = {name: paired_difference(full, table, name, level) for name in SCORES}
                own = {name: scores[name] for name in SCORES}
                found.append(Compressed(way, size, each, -(-size * each // 8), own, changes))
    means = mean_scores(full)
    return {name: means[name] for name in SCORES}, found


def _in_space(rows: EmbeddingSet, way: Way, metric: str) -> NDArray[Any]:
    """Return the rows that a projection takes: of length one where principal axes serve `cosine`."""
    return unit_rows(rows.embeddings) if way == "pca" and metric == "cosine" else rows.embeddings


def _with_rows(rows: EmbeddingSet, embeddings: NDArray[np.float32]) -> EmbeddingSet:
    return EmbeddingSet(embeddings, rows.labels, rows.ids, rows.names, rows.class_names)


def _even_steps(ends: Floats, levels: int) -> Codebook:
    """Return steps of equal width between two ends (2,d)."""
    low, high = ends[0][:, None], ends[1][:, None]
    width = (high - low) / levels
    return Codebook(low + width * np.arange(1, levels), low + width * (np.arange(levels) + 0.5))
