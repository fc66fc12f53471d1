"""Retrieval scores of embeddings: one number per query and score, and their means."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dml.embeddings import EmbeddingSet, query_and_reference
from dml.errors import UserError
from dml.evaluation.classification import ClassCounts
from dml.evaluation.knn_vote import VoteTally, own_class_chances, vote_chances
from dml.evaluation.per_query import QueryScores, mean_scores
from dml.evaluation.wanted import Wanted, score_ranks, want
from dml.functional.retrieval import Ranks
from dml.neighbors.memory import parse_memory
from dml.neighbors.ranking import (
    MOST,
    QUERIES,
    Block,
    Candidates,
    NearestSearch,
    RankingTask,
    Tiling,
    find_device,
    make_small_tiling,
    make_tiling,
    rank_block,
    rank_block_on,
    rank_small,
    run_blocks,
)
from dml.ranges import whole_number

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Found = tuple[Ranks, Candidates] | None


def retrieval_scores(
    query: ArrayLike | Tensor,
    query_labels: ArrayLike | Tensor,
    reference: ArrayLike | Tensor | None = None,
    reference_labels: ArrayLike | Tensor | None = None,
    ks: Sequence[int] = (1, 5, 10),
    knn_ks: Sequence[int] = (5,),
    max_memory: str | int = "2GiB",
    device: str | torch.device | None = None,
    query_ids: ArrayLike | Tensor | None = None,
    reference_ids: ArrayLike | Tensor | None = None,
    group: dist.ProcessGroup | None = None,
    metric: str = "l2",
    query_groups: ArrayLike | Tensor | None = None,
    reference_groups: ArrayLike | Tensor | None = None,
    groups: str = "any",
    scores: Sequence[str] | None = None,
) -> dict[str, float]:
    """Return the mean retrieval scores of embeddings: exact, in bounded memory.

    `recall_at_{k}`, `precision_at_{k}`, `r_precision`, `map_at_r`, `map`, `mrr`, `ndcg`, `knn_accuracy` (a vote of the
    first of `knn_ks` neighbours; with several, `knn_accuracy_at_{k}` too), `knn_macro_precision`, `knn_macro_recall`,
    `knn_macro_f1` of that vote (see `precision_recall_f1`) and `num_lone_queries`. Distances are
    compared as correctly rounded float32 squares; equal ones, and equal votes, count by their expectation over all
    orders, so the order of rows never matters. Queries without another member of their class are left out of all
    scores.

    Args:
        query: Embeddings (Q,D).
        query_labels: Whole numbers (Q,) of any value.
        reference: Embeddings (R,D) to search; None searches the other queries (leave-one-out).
        reference_labels: Whole numbers (R,).
        ks: The k of recall and precision.
        knn_ks: The k of the vote.
        max_memory: What may be used beyond the inputs: "2GiB", "500MB" or bytes.
        device: Where to compute: None or "cpu", "cuda", …; `max_memory` then holds for the device too.
        query_ids: Whole numbers (Q,) naming the samples; a reference with a query's id is that query itself and is not
            found by it. Repeated ids are padding and count once.
        reference_ids: Whole numbers (R,); without ids of both, queries and references are different samples.
        group: Processes that all give the same samples (see `EmbeddingSet.gather`) and share the ranking.
        metric: `l2` (Euclidean), or `cosine`: embeddings are brought to length one first.
        query_groups: Whole numbers (Q,), the group of each query: its camera, its sequence, its run.
        reference_groups: Whole numbers (R,).
        groups: `any`: groups don't matter; `same`: a query is compared with references of its own group only; `other`:
            with those of other groups only; `cross`: with all but those of its own group and class.
        scores: Names of the scores that are wanted; None: all. Those that need the nearest references only (recall,
            precision, the vote; R-precision and MAP@R where classes are small) come from a nearest-neighbour search,
            certified and equal to the last bit, unless others are wanted that need the whole ranking.

    Raises:
        UserError: NaN, counts that differ, nothing to score, k out of range, an unknown score, too little memory for
            one tile.

    Example:
        >>> retrieval_scores([[0.0], [0.1], [1.0], [1.2]], [0, 0, 1, 1], ks=(1,), knn_ks=(1,))["map_at_r"]
        1.0
    """
    samples = query, query_labels, reference, reference_labels, query_ids, reference_ids
    pair = query_and_reference(*samples, query_groups, reference_groups)
    return mean_scores(score_queries(*pair, ks, knn_ks, max_memory, device, group, metric, groups, scores))


def query_scores(
    query: ArrayLike | Tensor,
    query_labels: ArrayLike | Tensor,
    reference: ArrayLike | Tensor | None = None,
    reference_labels: ArrayLike | Tensor | None = None,
    ks: Sequence[int] = (1, 5, 10),
    knn_ks: Sequence[int] = (5,),
    max_memory: str | int = "2GiB",
    device: str | torch.device | None = None,
    query_ids: ArrayLike | Tensor | None = None,
    reference_ids: ArrayLike | Tensor | None = None,
    group: dist.ProcessGroup | None = None,
    metric: str = "l2",
    query_groups: ArrayLike | Tensor | None = None,
    reference_groups: ArrayLike | Tensor | None = None,
    groups: str = "any",
    scores: Sequence[str] | None = None,
) -> QueryScores:
    """Return every score of every single query; arguments and errors are those of `retrieval_scores`.

    Example:
        >>> query_scores([[0.0], [0.1], [1.0], [1.2]], [0, 0, 1, 2], ks=(1,), knn_ks=(1,)).scores["recall_at_1"]
        array([1., 1.])
    """
    samples = query, query_labels, reference, reference_labels, query_ids, reference_ids
    pair = query_and_reference(*samples, query_groups, reference_groups)
    return score_queries(*pair, ks, knn_ks, max_memory, device, group, metric, groups, scores)


def score_queries(
    query: EmbeddingSet,
    reference: EmbeddingSet,
    ks: Sequence[int] = (1, 5, 10),
    knn_ks: Sequence[int] = (5,),
    max_memory: str | int = "2GiB",
    device: str | torch.device | None = None,
    group: dist.ProcessGroup | None = None,
    metric: str = "l2",
    groups: str = "any",
    scores: Sequence[str] | None = None,
) -> QueryScores:
    """Return every score of every single query of a set; see `retrieval_scores`.

    Args:
        query: The queries.
        reference: What they search; the same object for leave-one-out.
        ks: The k of recall and precision.
        knn_ks: The k of the vote.
        max_memory: What may be used beyond the inputs.
        device: Where to compute.
        group: Processes that share the ranking.
        metric: `l2` or `cosine`.
        groups: Who is compared with whom, by the groups of the sets.
        scores: Names of the scores that are wanted; None: all.

    Example:
        >>> pairs = EmbeddingSet([[0.0], [0.1], [1.0], [1.2]], [0, 0, 1, 1])
        >>> score_queries(pairs, pairs, ks=(1,), knn_ks=(1,)).scores["map_at_r"]
        array([1., 1., 1., 1.])
    """
    ks, knn_ks = _whole_numbers("ks", ks), _whole_numbers("knn_ks", knn_ks)
    same = reference is query
    query = query.in_metric(metric)
    task = RankingTask(query, query if same else reference.in_metric(metric), groups)
    _check_ks(task, ks, knn_ks)
    accelerator = find_device(device)
    wanted = want(scores, ks, knn_ks)
    rank, tiling = _ranking(task, wanted, max_memory, accelerator)
    tally = VoteTally(len(task.layout.labels))

    def score(block: Block) -> list[Floats]:
        if (ranked := rank(block)) is None:
            return [np.concatenate(parts) for parts in zip(*map(score, block.cut(len(reference))), strict=True)]
        ranks, near = ranked
        columns = [values.numpy() for values in score_ranks(ranks, wanted.names)]
        if not wanted.voters:
            return columns
        own = task.layout.query_class[block.low : block.high]
        votes = vote_chances(own, near, wanted.voters[0])
        tally.add(votes, own)
        more = [own_class_chances(own, near, k) for k in wanted.voters[1:]]
        return [*columns, *([votes.of(own)] * (2 if more else 1)), *more]

    table = run_blocks(task, tiling, score, len(wanted.columns), group, accelerator or "cpu")
    layout, with_positives = task.layout, np.flatnonzero(task.layout.positives > 0)
    kept = layout.query_order[with_positives]
    found = dict(zip(wanted.columns, table[:, with_positives], strict=True))
    lone, votes = len(layout.positives) - len(with_positives), None
    if wanted.voters:
        actual = np.bincount(layout.query_class[with_positives], minlength=len(layout.labels)).astype(np.float64)
        votes = ClassCounts(layout.labels, actual, *tally.result(group, accelerator or "cpu")).ascending()
    return QueryScores(found, task.query.labels[kept], task.query.ids[kept], lone, votes)


def _ranking(
    task: RankingTask, wanted: Wanted, max_memory: str | int, accelerator: torch.device | None
) -> tuple[Callable[[Block], Found], Tiling]:
    """Return what ranks a block of the tiling as far as the wanted scores need it; None: it is to be cut first."""
    layout, voters = task.layout, max(wanted.voters, default=1)

    def whole(block: Block) -> Found:
        if accelerator is None:
            return rank_block(task, block, voters)
        return rank_block_on(task, block, voters, accelerator)

    if accelerator is None and (small := _small_ranking(task, wanted, max_memory, voters, whole)) is not None:
        return small
    available, least = parse_memory(max_memory), wanted.nearest(1)
    held = 4 * layout.reference_order.size * task.query.embeddings.shape[1]  # bytes of the references searched
    if least is None or least > MOST or layout.groups is not None or held > available // 2:
        return whole, make_tiling(task, max_memory, accelerated=accelerator is not None)
    rows = QUERIES if accelerator is None else 0
    tiling = make_tiling(task, available - held, accelerated=accelerator is not None, products=True, most=rows)
    search = NearestSearch(task, accelerator)

    def nearest(block: Block) -> Found:
        k = wanted.nearest(int(layout.positives[block.low : block.high].max()))
        found = search.rank(block, k, voters) if k is not None and k <= MOST else None
        return whole(block) if found is None else found

    return nearest, tiling._replace(keep=False)


def _small_ranking(
    task: RankingTask, wanted: Wanted, max_memory: str | int, voters: int, whole: Callable[[Block], Found]
) -> tuple[Callable[[Block], Found], Tiling] | None:
    """Return the ranking of a small set; None where the set isn't small."""
    positives = task.layout.positives
    most = int(positives.max())
    tiling = make_small_tiling(task, max_memory, wanted.nearest(most) or most)

    def together(block: Block) -> Found:
        k = None if block.columns else wanted.nearest(int(positives[block.low : block.high].max()))
        return whole(block) if k is None else rank_small(task, block, k, voters)

    return None if tiling is None else (together, tiling)


def _whole_numbers(name: str, values: ArrayLike) -> tuple[int, ...]:
    return tuple(whole_number(f"k in {name}", value) for value in np.ravel(values).tolist())


def _check_ks(task: RankingTask, ks: Sequence[int], knn_ks: Sequence[int]) -> None:
    available = int(task.layout.candidates[task.layout.positives > 0].min())
    for name, values in (("ks", ks), ("knn_ks", knn_ks)):
        if not values:
            raise UserError(f"{name} is empty: give at least one k")
        for k in values:
            if k < 1:
                raise UserError(f"k={k} in {name} is not positive: give whole numbers from 1 on")
            if k > available:
                left = "" if task.layout.groups is None else " that groups leave a query"
                raise UserError(f"k={k} in {name} is larger than the {available} references{left}: give a smaller k")
