"""Verification over all pairs without storing them: distances stream into two histograms."""

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
    query_groups: ArrayLike | Tensor | None = None,
    reference_groups: ArrayLike | Tensor | None = None,
    groups: str = "any",
) -> dict[str, float]:
    """Return `roc_auc`, `equal_error_rate` and `fnmr_at_fmr_{rate}` over all pairs of a query and a reference.

    Queries without a reference of their class are left out, as everywhere, with their pairs of different classes.

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
        query_groups: Whole numbers (Q,), as in `retrieval_scores`.
        reference_groups: Whole numbers (R,).
        groups: Who is compared with whom, as in `retrieval_scores`.

    Raises:
        UserError: What `retrieval_scores` refuses, a rate out of range, or no pair of different classes.

    Example:
        >>> verification_scores([[0.0], [0.1], [1.0], [1.2]], [0, 0, 1, 1], rates=(0.01,))["roc_auc"]
        1.0
    """
    if not all(0 < rate < 1 for rate in rates):
        raise UserError(f"false match rates {tuple(rates)}: each must lie between 0 and 1")
    samples = query, query_labels, reference, reference_labels, query_ids, reference_ids
    task = RankingTask(*query_and_reference(*samples, query_groups, reference_groups), groups)
    same, different = pair_histograms(task, max_memory)
    pair = torch.from_numpy(same), torch.from_numpy(different)
    scores = {"roc_auc": verification.roc_auc(*pair), "equal_error_rate": verification.equal_error_rate(*pair)}
    return scores | {f"fnmr_at_fmr_{rate:g}": verification.fnmr_at_fmr(*pair, rate) for rate in rates}


def pair_histograms(task: RankingTask, max_memory: str | int) -> tuple[Ints, Ints]:
    """Return how many same-class and different-class pairs lie in each bin of squared distance, each (bins,).

    Raises:
        UserError: No pair of different classes.
    """
    total, same = np.zeros(_BINS, dtype=np.int64), np.zeros(_BINS, dtype=np.int64)
    for block in make_tiling(task, max_memory).blocks:
        _add_block(task, block, total, same)
    if total.sum() == same.sum():
        raise UserError("all samples are of one class: verification needs pairs of different classes")
    return same, total - same


def bin_of(distances: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return the bin of `pair_histograms` that each squared distance (n,) falls into."""
    return np.right_shift(np.abs(distances).view(np.uint32), np.uint32(_DROPPED))


def largest_in_bins(bins: Ints) -> NDArray[np.float32]:
    """Return the largest squared distance that each of these bins (n,) of `pair_histograms` takes.

    Example:
        >>> largest_in_bins(bin_of(np.float32([1, 4]))).round(3)
        array([1., 4.], dtype=float32)
    """
    return (((bins.astype(np.uint32) + 1) << _DROPPED) - 1).astype(np.uint32).view(np.float32)


def _add_block(task: RankingTask, block: Block, total: Ints, same: Ints) -> None:
    layout = task.layout
    query = task.queries(block.low, block.high, np.float64)
    classes, own = layout.query_class[block.low : block.high], layout.self_at[block.low : block.high]
    for start in range(0, len(layout.reference_order), block.columns):
        stop = min(start + block.columns, len(layout.reference_order))
        tile = squared_distances(query, task.references(start, stop, np.float64))
        kept = own[:, None] != np.arange(start, stop)
        if (excluded := task.excluded(block.low, block.high, start, stop)) is not None:
            kept &= ~excluded
        positive = classes[:, None] == layout.reference_class[start:stop]
        _add_counts(total, tile[kept])
        _add_counts(same, tile[kept & positive])


def _add_counts(counts: Ints, distances: NDArray[np.float32]) -> None:
    """Count squared distances by their leading bits, which order numbers ≥ 0 by value, into counts (bins,)."""
    if len(distances) > _BINS // 8:
        counts += np.bincount(bin_of(distances), minlength=_BINS)
    else:  # a table of all bins would take longer than sorting
        bins, own = np.unique(bin_of(distances), return_counts=True)
        counts[bins] += own
