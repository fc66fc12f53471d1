"""Scores of embeddings: from samples to one number per query and score, and their means; it ranks nothing itself."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dml.errors import UserError
from dml.evaluation.accelerated import find_device, rank_block_on
from dml.evaluation.nearest import Candidates
from dml.evaluation.plan import Block, make_plan
from dml.evaluation.problem import Ints, Problem
from dml.evaluation.ranking import rank_block
from dml.evaluation.samples import pose_problem
from dml.evaluation.votes import own_class_chances
from dml.evaluation.work import run_blocks
from dml.functional import retrieval
from dml.functional.retrieval import Ranks

Floats = NDArray[np.float64]


class QueryScores(NamedTuple):
    """Every score of every query that has a positive, in class order, and the number of lone queries left out."""

    scores: dict[str, Floats]  # each (Q,)
    labels: Ints  # (Q,)
    ids: Ints  # (Q,)
    num_lone_queries: int


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
) -> dict[str, float]:
    """Return the mean retrieval scores of embeddings under Euclidean distance: exact, in bounded memory.

    `recall_at_{k}`, `precision_at_{k}`, `r_precision`, `map_at_r`, `map`, `mrr`, `ndcg`, `knn_accuracy` (a vote of the
    first of `knn_ks` neighbours; with several, `knn_accuracy_at_{k}` too) and `num_lone_queries`. Distances are
    compared as correctly rounded float32 squares; equal ones, and equal votes, count by their expectation over all
    orders, so the order of rows never matters. Queries without another member of their class are left out of all
    scores.

    Args:
        query: Embeddings (Q,D), used as they are: normalise them yourself for cosine.
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
        group: Processes that all give the same samples (see `gather_samples`) and share the work.

    Raises:
        UserError: NaN, counts that differ, nothing to score, k out of range, too little memory for one tile.

    Example:
        >>> retrieval_scores([[0.0], [0.1], [1.0], [1.2]], [0, 0, 1, 1], ks=(1,), knn_ks=(1,))["map_at_r"]
        1.0
    """
    table = query_scores(
        query,
        query_labels,
        reference,
        reference_labels,
        ks,
        knn_ks,
        max_memory,
        device,
        query_ids,
        reference_ids,
        group,
    )
    return mean_scores(table)


def mean_scores(table: QueryScores) -> dict[str, float]:
    """Return the mean of each score over the queries, summed exactly, and the number of lone queries."""
    means = {name: math.fsum(values.tolist()) / len(values) for name, values in table.scores.items()}
    return means | {"num_lone_queries": float(table.num_lone_queries)}


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
) -> QueryScores:
    """Return every score of every single query; arguments and errors are those of `retrieval_scores`.

    Example:
        >>> query_scores([[0.0], [0.1], [1.0], [1.2]], [0, 0, 1, 2], ks=(1,), knn_ks=(1,)).scores["recall_at_1"]
        array([1., 1.])
    """
    problem = Problem(*pose_problem(query, query_labels, reference, reference_labels, query_ids, reference_ids))
    _check_ks(problem, ks, knn_ks)
    accelerator = find_device(device)
    plan = make_plan(problem, max_memory, accelerated=accelerator is not None)
    names = _score_names(ks, knn_ks)

    def score(block: Block) -> list[Floats]:
        if accelerator is None:
            ranks, near = rank_block(problem, block, max(knn_ks))
        else:
            ranks, near = rank_block_on(problem, block, max(knn_ks), accelerator)
        return _score_block(ranks, near, problem.layout.query_class[block.low : block.high], ks, knn_ks)

    table = run_blocks(problem, plan, score, len(names), group)
    layout, scored = problem.layout, np.flatnonzero(problem.layout.positives > 0)
    kept = layout.query_order[scored]
    scores = dict(zip(names, table[:, scored], strict=True))
    return QueryScores(scores, problem.query.labels[kept], problem.query.ids[kept], len(layout.positives) - len(scored))


def _check_ks(problem: Problem, ks: Sequence[int], knn_ks: Sequence[int]) -> None:
    available = len(problem.layout.reference_order) - int((problem.layout.self_at >= 0).any())
    for name, values in (("ks", ks), ("knn_ks", knn_ks)):
        if not values:
            raise UserError(f"{name} is empty: give at least one k")
        for k in values:
            if k < 1:
                raise UserError(f"k={k} in {name} is not positive: give whole numbers from 1 on")
            if k > available:
                raise UserError(f"k={k} in {name} is larger than the {available} references: give a smaller k")


def _score_names(ks: Sequence[int], knn_ks: Sequence[int]) -> list[str]:
    """Return the names of what `_score_block` gives, in its order."""
    names = [*(f"recall_at_{k}" for k in ks), *(f"precision_at_{k}" for k in ks)]
    names += ["r_precision", "map_at_r", "map", "mrr", "ndcg", "knn_accuracy"]
    return names + ([f"knn_accuracy_at_{k}" for k in knn_ks] if len(knn_ks) > 1 else [])


def _score_block(ranks: Ranks, near: Candidates, own: Ints, ks: Sequence[int], knn_ks: Sequence[int]) -> list[Floats]:
    scores = [retrieval.recall_at_k(ranks, k) for k in ks] + [retrieval.precision_at_k(ranks, k) for k in ks]
    scores += [
        retrieval.r_precision(ranks),
        retrieval.map_at_r(ranks),
        retrieval.average_precision(ranks),
        retrieval.reciprocal_rank(ranks),
        retrieval.ndcg(ranks),
    ]
    votes = [own_class_chances(own, near, k) for k in knn_ks]
    return [*(values.numpy() for values in scores), votes[0], *(votes if len(votes) > 1 else [])]
