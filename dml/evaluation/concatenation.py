"""Embeddings of several encoders side by side, as one embedding of the same samples."""

from collections.abc import Sequence

import numpy as np

from dml.embeddings import EmbeddingSet
from dml.errors import UserError


def concatenate(
    pairs: Sequence[tuple[EmbeddingSet, EmbeddingSet]], metric: str = "l2"
) -> tuple[EmbeddingSet, EmbeddingSet]:
    """Return queries and references embedded by all encoders at once, (N,ΣD), each encoder with an equal say.

    Under `cosine` each encoder's rows are brought to length one before they are set side by side: the cosine of two
    samples is then the mean of the encoders' cosines. Under `l2`, where lengths carry meaning, an
    encoder's rows are divided by one number, the root mean square distance of its references from their mean: the
    squared distance is then the mean of the encoders' in units of their own spread.

    Args:
        pairs: Queries and references of each encoder, the same samples; the same object twice for leave-one-out.
        metric: `l2` or `cosine`.

    Raises:
        UserError: The encoders embedded different samples.

    Source: Musgrave, Belongie and Lim, "A Metric Learning Reality Check" (2020).

    Example:
        >>> one, far = EmbeddingSet([[0.0], [1.0]], [0, 1]), EmbeddingSet([[10.0], [30.0]], [0, 1])
        >>> concatenate([(one, one), (far, far)])[0].embeddings
        array([[0.        , 0.70710678],
               [1.41421356, 2.12132034]])
    """
    first = pairs[0]
    for pair in pairs[1:]:
        if not all(
            np.array_equal(ours.ids, theirs.ids) and np.array_equal(ours.labels, theirs.labels)
            for ours, theirs in zip(first, pair, strict=True)
        ):
            raise UserError("the encoders embedded different samples: only the same samples can be concatenated")
    scales = [1.0 if metric == "cosine" else _spread(reference) for _, reference in pairs]
    joined = [_join([pair[side] for pair in pairs], scales, metric) for side in (0, 1)]
    return joined[0], joined[0] if first[0] is first[1] else joined[1]


def _join(sets: Sequence[EmbeddingSet], scales: Sequence[float], metric: str) -> EmbeddingSet:
    blocks = [
        each.in_metric(metric).embeddings.astype(np.float64) / (scale * np.sqrt(len(sets)))
        for each, scale in zip(sets, scales, strict=True)
    ]
    first = sets[0]
    rows = np.concatenate(blocks, axis=1)
    return EmbeddingSet(rows, first.labels, first.ids, first.names, first.class_names, groups=first.groups)


def _spread(rows: EmbeddingSet) -> float:
    moved = rows.embeddings.astype(np.float64)
    moved -= moved.mean(axis=0)
    return float(np.sqrt(np.square(moved).sum(axis=1).mean())) or 1.0
