"""All results of one evaluation of a set of queries: retrieval, intervals and, if asked for, more."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from dml.embeddings import EmbeddingSet
from dml.errors import UserError
from dml.evaluation.clustering import clustering_scores
from dml.evaluation.intervals import class_intervals
from dml.evaluation.per_query import QueryScores, mean_scores
from dml.evaluation.verification import verification_scores


class Evaluation(NamedTuple):
    """The mean scores, and the scores of the single queries.

    Example:
        >>> from dml.evaluation import query_scores
        >>> found = Evaluation.of(query_scores([[0.0], [0.1], [1.0], [1.2]], [0, 0, 1, 1], ks=(1,), knn_ks=(1,)))
        >>> low, high = found.intervals()["map_at_r"]
        >>> found.scores["map_at_r"], low < 0.5, high
        (1.0, True, 1.0)
    """

    scores: dict[str, float]
    queries: QueryScores

    @classmethod
    def of(cls, queries: QueryScores) -> "Evaluation":
        """Return the evaluation that the scores of the single queries amount to."""
        return cls(mean_scores(queries), queries)

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return an interval for every score that is a mean over queries; none where all are of one class."""
        return class_intervals(self.queries) if len(np.unique(self.queries.labels)) > 1 else {}


def further_scores(
    query: EmbeddingSet,
    reference: EmbeddingSet,
    metric: str = "l2",
    max_memory: str | int = "2GiB",
    verification: bool = False,
    clustering: bool = False,
    estimator: str | None = None,
    estimator_args: Mapping[str, Any] | None = None,
    groups: str = "any",
) -> dict[str, float]:
    """Return the scores beside retrieval that were asked for.

    Args:
        query: The queries.
        reference: What they search.
        metric: `l2` or `cosine`.
        max_memory: For the distances, beyond the embeddings.
        verification: Whether to add `roc_auc`, `equal_error_rate` and `fnmr_at_fmr_0.001`.
        clustering: Whether to add `nmi` and `ami`.
        estimator: Class path of a classifier to be fitted to the references; adds `estimator_accuracy` on the queries.
        estimator_args: Its arguments.
        groups: Who is compared with whom in verification, as in `retrieval_scores`.

    Raises:
        UserError: An unknown metric, or a class that is not an estimator.
    """
    scores: dict[str, float] = {}
    query, reference = query.in_metric(metric), reference.in_metric(metric)
    if verification:
        scores |= verification_scores(
            query.embeddings,
            query.labels,
            reference.embeddings,
            reference.labels,
            max_memory=max_memory,
            query_ids=query.ids,
            reference_ids=reference.ids,
            query_groups=query.groups,
            reference_groups=reference.groups,
            groups=groups,
        )
    if clustering:
        scores |= clustering_scores(query.embeddings, query.labels)
    if estimator is not None:
        scores["estimator_accuracy"] = _estimate(estimator, estimator_args or {}, query, reference)
    return scores


def _estimate(class_path: str, arguments: Mapping[str, Any], query: EmbeddingSet, reference: EmbeddingSet) -> float:
    if not np.isin(query.labels, reference.labels).all() or set(query.ids) & set(reference.ids):
        raise UserError(
            "an estimator needs references apart from the queries, of the same classes: choose such a split"
        )
    module, _, name = class_path.rpartition(".")
    try:
        estimator = getattr(import_module(module), name)(**arguments)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"no estimator {class_path!r} with arguments {dict(arguments)}: {error}") from error
    if not (hasattr(estimator, "fit") and hasattr(estimator, "score")):
        raise UserError(f"{class_path} is not an estimator: it needs fit and score, as in scikit-learn")
    fitted = estimator.fit(reference.embeddings, reference.labels)
    return float(fitted.score(query.embeddings, query.labels))
