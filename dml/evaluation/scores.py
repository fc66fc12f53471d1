"""Scores of embeddings: from samples to one number per query and score, and their means; it ranks nothing itself."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dml.errors import UserError
from dml.evaluation.problem import Ints, Problem, lay_out
from dml.evaluation.ranking import Candidates, rank_block
from dml.evaluation.samples import Samples, check_samples, parse_memory
from dml.evaluation.votes import chance_of_class
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
        device: Where to compute; None is the CPU.
        query_ids: Whole numbers (Q,) naming the samples; a reference with a query's id is that query itself and is not
            found by it. Repeated ids are padding and count once.
        reference_ids: Whole numbers (R,); without ids of both, queries and references are different samples.

    Raises:
        UserError: NaN, counts that differ, nothing to score, k out of range, too little memory for one tile.

    Example:
        >>> retrieval_scores([[0.0], [0.1], [1.0], [1.2]], [0, 0, 1, 1], ks=(1,), knn_ks=(1,))["map_at_r"]
        1.0
    """
    table = query_scores(
        query, query_labels, reference, reference_labels, ks, knn_ks, max_memory, device, query_ids, reference_ids
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
) -> QueryScores:
    """Return every score of every single query; arguments and errors are those of `retrieval_scores`.

    Example:
        >>> query_scores([[0.0], [0.1], [1.0], [1.2]], [0, 0, 1, 2], ks=(1,), knn_ks=(1,)).scores["recall_at_1"]
        array([1., 1.])
    """
    problem = _problem(query, query_labels, reference, reference_labels, query_ids, reference_ids)
    _check_ks(problem, ks, knn_ks)
    scored = np.flatnonzero(problem.positives > 0)
    rows, columns = _tile_shape(problem, parse_memory(max_memory))
    blocks = []
    for low, high in _blocks(problem, scored, rows):
        ranks, candidates = rank_block(problem, low, high, columns, max(knn_ks))
        blocks.append(_score_block(problem.query_class[low:high], ranks, candidates, ks, knn_ks))
    kept = problem.query_order[scored]
    scores = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return QueryScores(
        scores, problem.query.labels[kept], problem.query.ids[kept], len(problem.positives) - len(scored)
    )


def _problem(
    query: ArrayLike | Tensor,
    query_labels: ArrayLike | Tensor,
    reference: ArrayLike | Tensor | None,
    reference_labels: ArrayLike | Tensor | None,
    query_ids: ArrayLike | Tensor | None,
    reference_ids: ArrayLike | Tensor | None,
) -> Problem:
    queries = check_samples(query, query_labels, query_ids, "query")
    if reference is None:
        return lay_out(queries, queries)
    if reference_labels is None:
        raise UserError("references come without labels: give reference_labels")
    references = check_samples(reference, reference_labels, reference_ids, "reference")
    if query_ids is None or reference_ids is None:  # strangers: no reference is a query
        references = Samples(references.embeddings, references.labels, -1 - np.arange(len(references.labels)))
        queries = Samples(queries.embeddings, queries.labels, np.arange(len(queries.labels)))
    return lay_out(queries, references)


def _check_ks(problem: Problem, ks: Sequence[int], knn_ks: Sequence[int]) -> None:
    available = len(problem.reference_order) - int((problem.self_at >= 0).any())
    for name, values in (("ks", ks), ("knn_ks", knn_ks)):
        if not values:
            raise UserError(f"{name} is empty: give at least one k")
        for k in values:
            if k < 1:
                raise UserError(f"k={k} in {name} is not positive: give whole numbers from 1 on")
            if k > available:
                raise UserError(f"k={k} in {name} is larger than the {available} references: give a smaller k")


def _blocks(problem: Problem, scored: Ints, rows: int) -> list[tuple[int, int]]:
    """Cut runs of scored queries into blocks of at most `rows`."""
    blocks = []
    for run in np.split(scored, np.flatnonzero(np.diff(scored) > 1) + 1):
        start, end = int(run[0]), int(run[-1]) + 1
        blocks += [(low, min(low + rows, end)) for low in range(start, end, rows)]
    return blocks


def _tile_shape(problem: Problem, memory: int) -> tuple[int, int]:
    """Return the largest tile (queries, references) whose working memory fits."""
    dim, total = problem.query.embeddings.shape[1], len(problem.reference_order)
    most = int(problem.positives.max())
    fixed = 64 * (len(problem.query_order) + total)
    rows, columns = min(256, len(problem.query_order)), min(1 << 15, total)

    def need(rows: int, columns: int) -> int:
        return fixed + 40 * rows * columns + 16 * (rows + columns) * dim + 160 * rows * most

    while need(rows, columns) > memory and (rows > 1 or columns > 1):
        if rows > 1 and (columns <= 1024 or 160 * rows * most > memory // 2):
            rows //= 2
        else:
            columns = max(1, columns // 2)
    if need(rows, columns) > memory:
        raise UserError(f"max_memory is too small for one tile: at least {need(1, 1)} bytes are needed here")
    return rows, columns


def _score_block(
    own: Ints, ranks: Ranks, near: Candidates, ks: Sequence[int], knn_ks: Sequence[int]
) -> dict[str, Floats]:
    scores = {f"recall_at_{k}": retrieval.recall_at_k(ranks, k) for k in ks}
    scores |= {f"precision_at_{k}": retrieval.precision_at_k(ranks, k) for k in ks}
    scores["r_precision"] = retrieval.r_precision(ranks)
    scores["map_at_r"] = retrieval.map_at_r(ranks)
    scores["map"] = retrieval.average_precision(ranks)
    scores["mrr"] = retrieval.reciprocal_rank(ranks)
    scores["ndcg"] = retrieval.ndcg(ranks)
    arrays = {name: values.numpy() for name, values in scores.items()}
    votes = {k: _votes(own, near, k) for k in knn_ks}
    arrays["knn_accuracy"] = votes[knn_ks[0]]
    if len(knn_ks) > 1:
        arrays |= {f"knn_accuracy_at_{k}": values for k, values in votes.items()}
    return arrays


def _votes(own: Ints, near: Candidates, k: int) -> Floats:
    """Return the chance (B,) that each query's own class wins the vote of its k nearest."""
    border = near.border[:, k - 1][near.row]
    result = np.empty(len(own))
    certain = near.distance < border
    tied = near.distance == border
    bounds = np.searchsorted(near.row, np.arange(len(own) + 1))
    for i, mine in enumerate(own.tolist()):
        part = slice(bounds[i], bounds[i + 1])
        codes = near.code[part]
        sure, even = Counter(codes[certain[part]].tolist()), Counter(codes[tied[part]].tolist())
        result[i] = chance_of_class(mine, sure, even, k)
    return result
