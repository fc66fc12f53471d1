"""Chooses k and the metric of a k-NN classifier on folds: one search per fold and metric serves every k.

The folds are not scikit-learn's: its `KFold` shuffles by another generator, so the committed results would change.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dml.errors import UserError
from dml.neighbors.index import NeighborIndex

Ints = NDArray[np.int64]


class CrossValidation(NamedTuple):
    """Error of each metric, k and fold, (metrics,ks,folds), and the choice with the lowest mean error."""

    errors: NDArray[np.float64]
    metrics: tuple[str, ...]
    ks: tuple[int, ...]
    metric: str
    k: int


def cross_validate(
    x: ArrayLike,
    y: ArrayLike,
    ks: Sequence[int],
    metrics: Sequence[str] = ("l2",),
    folds: int = 5,
    seed: int | None = None,
    backend: str = "auto",
) -> CrossValidation:
    """Return the error of every k and metric on every fold; equal means go to the first metric and the smallest k.

    Args:
        x: Rows (n,D).
        y: Their classes (n,).
        ks: Numbers of voters, each from 1 to the rows of folds − 1 folds.
        metrics: Of `l1`, `l2`, `linf`, `cosine`.
        folds: Number of folds, from 2 to n.
        seed: Shuffles the rows before they are cut into folds; None cuts them as they come.
        backend: `auto`, `faiss` or `torch`.

    Raises:
        UserError: Counts that differ, k or folds out of range, unknown metric.

    Example:
        >>> cross_validate([[0.0], [5.0], [0.1], [5.1]], [0, 1, 0, 1], ks=[1], folds=2).errors
        array([[[0., 0.]]])
    """
    rows, codes = np.asarray(x), np.unique(np.asarray(y), return_inverse=True)[1]
    order = np.arange(len(rows)) if seed is None else np.random.default_rng(seed).permutation(len(rows))
    _check(len(rows), len(codes), ks, folds)
    parts = np.array_split(order, folds)
    errors = np.empty((len(metrics), len(ks), folds))
    for f, held in enumerate(parts):
        kept = np.concatenate([*parts[:f], *parts[f + 1 :]])
        for m, metric in enumerate(metrics):
            found = NeighborIndex(metric, backend).add(rows[kept]).search(rows[held], max(ks))[1]
            errors[m, :, f] = errors_of_k(codes[kept][found], codes[held], ks)
    means = errors.mean(axis=2)
    m, i = min(np.ndindex(means.shape), key=lambda at: (means[at], at[0], ks[at[1]]))
    return CrossValidation(errors, tuple(metrics), tuple(ks), metrics[m], ks[i])


def errors_of_k(neighbor_codes: Ints, codes: Ints, ks: Sequence[int]) -> NDArray[np.float64]:
    """Return the error (len(ks),) of a vote of the k nearest; equal votes go to the lowest class.

    Args:
        neighbor_codes: Classes (n,K) of the neighbours, nearest first, numbered from 0.
        codes: True classes (n,).
        ks: Numbers of voters, each at most K.

    Example:
        >>> errors_of_k(np.array([[1, 0, 0]]), np.array([0]), [1, 2, 3])
        array([1., 0., 0.])
    """
    rows = np.arange(len(codes))
    votes = np.zeros((len(codes), int(max(neighbor_codes.max(), codes.max())) + 1), dtype=np.int64)
    errors = np.empty(len(ks))
    for k in range(1, max(ks) + 1):
        votes[rows, neighbor_codes[:, k - 1]] += 1
        if k in ks:
            errors[[i for i, wanted in enumerate(ks) if wanted == k]] = np.mean(votes.argmax(axis=1) != codes)
    return errors


def _check(num_rows: int, num_labels: int, ks: Sequence[int], folds: int) -> None:
    if num_rows != num_labels:
        raise UserError(f"{num_rows} rows but {num_labels} classes: give one class per row")
    if not 2 <= folds <= num_rows:
        raise UserError(f"{folds} folds of {num_rows} rows: give between 2 and {num_rows}")
    most = num_rows - -(-num_rows // folds)
    if not len(ks) or min(ks) < 1 or max(ks) > most:
        raise UserError(f"ks {tuple(ks)}: each k must lie between 1 and the {most} rows left beside a fold")
