"""Checks embeddings, labels and ids and brings them into one form; it scores nothing."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dml.errors import UserError

_UNITS = {
    "b": 1,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}


class Samples(NamedTuple):
    """Embeddings (N,D) in float32 or float64, labels int64 (N,), ids int64 (N,); every id once."""

    embeddings: NDArray[np.float32] | NDArray[np.float64]
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]


def check_samples(
    embeddings: ArrayLike | Tensor,
    labels: ArrayLike | Tensor,
    ids: ArrayLike | Tensor | None = None,
    name: str = "query",
) -> Samples:
    """Return embeddings, labels and ids as arrays, each sample once.

    Args:
        embeddings: Numbers (N,D); float64 is kept, everything else becomes float32.
        labels: Whole numbers (N,) of any value.
        ids: Whole numbers (N,) that name the samples; None numbers them by position. Of samples with equal ids (the
            padding of a distributed sampler) the first is kept.
        name: What the messages call these samples.

    Raises:
        UserError: Wrong shape, no rows, counts that differ, NaN or infinite embeddings, labels that are not whole
            numbers.

    Example:
        >>> check_samples([[1.0], [2.0], [1.0]], [5, 6, 5], ids=[0, 1, 0]).labels
        array([5, 6])
    """
    rows = as_array(embeddings)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise UserError(f"{name} embeddings have shape {rows.shape}: give one row per sample, (N,D) with D at least 1")
    if not len(rows):
        raise UserError(f"the {name} set is empty: give at least one sample")
    if rows.dtype != np.float64:
        rows = rows.astype(np.float32, copy=False)
    _check_finite(rows, name)
    codes = _integers(labels, len(rows), f"{name} labels")
    if ids is None:
        return Samples(rows, codes, np.arange(len(rows)))
    numbers = _integers(ids, len(rows), f"{name} ids")
    unique, first = np.unique(numbers, return_index=True)
    if len(unique) == len(numbers):
        return Samples(rows, codes, numbers)
    first.sort()
    return Samples(rows[first], codes[first], numbers[first])


def pose_problem(
    query: ArrayLike | Tensor,
    query_labels: ArrayLike | Tensor,
    reference: ArrayLike | Tensor | None = None,
    reference_labels: ArrayLike | Tensor | None = None,
    query_ids: ArrayLike | Tensor | None = None,
    reference_ids: ArrayLike | Tensor | None = None,
) -> tuple[Samples, Samples]:
    """Return checked queries and references: the same samples where none are given, strangers where ids are missing.

    Raises:
        UserError: What `check_samples` refuses, or references without labels.

    Example:
        >>> query, reference = pose_problem([[0.0]], [1], [[2.0]], [1])
        >>> query.ids, reference.ids  # no id in common
        (array([0]), array([-1]))
    """
    queries = check_samples(query, query_labels, query_ids, "query")
    if reference is None:
        return queries, queries
    if reference_labels is None:
        raise UserError("references come without labels: give reference_labels")
    references = check_samples(reference, reference_labels, reference_ids, "reference")
    if query_ids is None or reference_ids is None:  # strangers: no reference is a query
        references = Samples(references.embeddings, references.labels, -1 - np.arange(len(references.labels)))
        queries = Samples(queries.embeddings, queries.labels, np.arange(len(queries.labels)))
    return queries, references


def as_array(values: Any) -> NDArray[Any]:
    """Return a tensor of any device, or anything else NumPy takes, as an array; half precision becomes float32."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return np.asarray(values.float() if values.dtype in (torch.bfloat16, torch.float16) else values)
    return np.asarray(values)


def _check_finite(rows: NDArray[Any], name: str) -> None:
    step = max(1, (1 << 20) // rows.shape[1])
    bad = [i + np.flatnonzero(~np.isfinite(rows[i : i + step]).all(axis=1)) for i in range(0, len(rows), step)]
    wrong = np.concatenate(bad)
    if len(wrong):
        raise UserError(
            f"{len(wrong)} of {len(rows)} {name} embeddings hold NaN or infinity, the first in row {wrong[0]}: "
            "look at the encoder or the learning rate"
        )


def _integers(values: Any, count: int, name: str) -> NDArray[np.int64]:
    numbers = as_array(values)
    if numbers.ndim != 1 or len(numbers) != count:
        raise UserError(f"{name} have shape {numbers.shape} for {count} embeddings: give one for each row")
    whole = numbers.astype(np.int64) if numbers.dtype.kind in "iuf" and np.isfinite(numbers).all() else None
    if whole is None or not (whole == numbers).all():
        raise UserError(f"{name} are not whole numbers: number the classes, for instance with numpy.unique")
    return whole
