"""Verification over all pairs, which are never held: distances stream into two histograms."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dml.embeddings import query_and_reference
from dml.errors import UserError
from dml.functional import verification
from dml.neighbors.exact import squared_distances
from dml.neighbors.ranking.layout import Ints, RankingTask
from dml.neighbors.ranking.tiles import Block, make_tiling

_DROPPED = 10  # bits of a float32 that do not count: bins are 1/8192 wide, relative to the squared distance
_BINS = 1 << (31 - _DROPPED)


def verification_scores(
    query: ArrayLike | Tensor,
    query_labels: ArrayLike | Tensor,
    reference: ArrayLike | Tensor | None = None,
    reference_labels: ArrayLike | Tensor | None = None,
    rates: Sequence[float] = (1e-3,),
    max_memory: str | int = "2GiB",
    query_ids: ArrayLike | Tensor | None = None,
    reference_ids: ArrayLike | Tensor | None = None,
) -> dict[str, float]:
    """Return `roc_auc`, `equal_error_rate` and `fnmr_at_fmr_{rate}` over all pairs of a query and a reference.

    Squared Euclidean distances are told apart to one part in 8192; pairs closer than that count as equally far.

    Args:
        query: Embeddings (Q,D).
        query_labels: Whole numbers (Q,).
        reference: Embeddings (R,D); None compares the queries with one another.
        reference_labels: Whole numbers (R,).
        rates: False match rates, each in (0, 1).
        max_memory: What may be used beyond the inputs, 40 MB at least for the histograms.
        query_ids: Whole numbers (Q,) naming the samples; a sample is never compared with itself.
        reference_ids: Whole numbers (R,).

    Raises:
        UserError: What `retrieval_scores` refuses, a rate out of range, or no pair of different classes.

    Example:
        >>> verification_scores([[0.0], [0.1], [1.0], [1.2]], [0, 0, 1, 1], rates=(0.01,))["roc_auc"]
        1.0
    """
    if not all(0 < rate < 1 for rate in rates):
        raise UserError(f"false match rates {tuple(rates)}: each must lie between 0 and 1")
    task = RankingTask(*query_and_reference(query, query_labels, reference, reference_labels, query_ids, reference_ids))
    total, same = np.zeros(_BINS, dtype=np.int64), np.zeros(_BINS, dtype=np.int64)
    for block in make_tiling(task, max_memory).blocks:
        _add_block(task, block, total, same)
    if total.sum() == same.sum():
        raise UserError("all samples are of one class: verification needs pairs of different classes")
    pair = torch.from_numpy(same), torch.from_numpy(total - same)
    scores = {"roc_auc": verification.roc_auc(*pair), "equal_error_rate": verification.equal_error_rate(*pair)}
    return scores | {f"fnmr_at_fmr_{rate:g}": verification.fnmr_at_fmr(*pair, rate) for rate in rates}


def _add_block(task: RankingTask, block: Block, total: Ints, same: Ints) -> None:
    layout = task.layout
    query = task.queries(block.low, block.high, np.float64)
    classes, own = layout.query_class[block.low : block.high], layout.self_at[block.low : block.high]
    for start in range(0, len(layout.reference_order), block.columns):
        stop = min(start + block.columns, len(layout.reference_order))
        tile = squared_distances(query, task.references(start, stop, np.float64))
        kept = own[:, None] != np.arange(start, stop)
        positive = classes[:, None] == layout.reference_class[start:stop]
        total += _histogram(tile[kept])
        same += _histogram(tile[kept & positive])


def _histogram(distances: NDArray[np.float32]) -> Ints:
    """Return the counts (bins,) of squared distances by their leading bits, which order numbers ≥ 0 by value."""
    return np.bincount(np.abs(distances).view(np.uint32) >> _DROPPED, minlength=_BINS)
