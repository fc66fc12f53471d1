"""All that one evaluation of embedded samples says: retrieval, intervals and, where asked, more; it embeds nothing."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dml.errors import UserError
from dml.evaluation.clustering import clustering_scores
from dml.evaluation.samples import Samples, check_samples
from dml.evaluation.scores import QueryScores, mean_scores, query_scores
from dml.evaluation.uncertainty import class_intervals
from dml.evaluation.verification import verification_scores
from dml.neighbors.metrics import normalize


class Task(NamedTuple):
    """Queries and what they search; the same object for leave-one-out."""

    query: Samples
    reference: Samples


class Scored(NamedTuple):
    """All scores, an interval for those that are means over queries, and the scores of the single queries."""

    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    queries: QueryScores


def read_task(
    embeddings: str, labels: str | None, reference_embeddings: str | None, reference_labels: str | None
) -> Task:
    """Read embeddings (N,D) and labels (N,) from .npy files; without references the queries search each other.

    Raises:
        UserError: A file is missing or holds something else, or labels are not given.
    """
    if labels is None:
        raise UserError("--embeddings come without labels: give --labels FILE")
    query = check_samples(_read(embeddings), _read(labels))
    if reference_embeddings is None:
        return Task(query, query)
    if reference_labels is None:
        raise UserError("--reference_embeddings come without labels: give --reference_labels FILE")
    reference = check_samples(_read(reference_embeddings), _read(reference_labels), name="reference")
    return Task(query, reference._replace(ids=-1 - reference.ids))  # no sample is in both files


def score_task(
    task: Task,
    metric: str = "l2",
    ks: Sequence[int] = (1, 5, 10),
    knn_ks: Sequence[int] = (5,),
    max_memory: str | int = "2GiB",
    verification: bool = False,
    clustering: bool = False,
    estimator: str | None = None,
    estimator_args: Mapping[str, Any] | None = None,
) -> Scored:
    """Return all scores of a task.

    Args:
        task: Queries and references.
        metric: `l2`, or `cosine` for embeddings brought to length one first.
        ks: The k of recall and precision.
        knn_ks: The k of the votes.
        max_memory: For the search, beyond the embeddings.
        verification: Whether to add `roc_auc`, `equal_error_rate` and `fnmr_at_fmr_0.001`.
        clustering: Whether to add `nmi` and `ami`.
        estimator: Class path of a classifier to be fitted to the references; adds `estimator_accuracy` on the queries.
        estimator_args: Its arguments.

    Raises:
        UserError: What `retrieval_scores` refuses, an unknown metric, an estimator that is none.
    """
    if metric not in ("l2", "cosine"):
        raise UserError(f"unknown metric {metric!r}: choose l2 or cosine")
    query, reference = (
        part._replace(embeddings=normalize(part.embeddings)) if metric == "cosine" else part for part in task
    )
    x, y, ids = query
    others, other_labels, other_ids = reference
    table = query_scores(x, y, others, other_labels, ks, knn_ks, max_memory, query_ids=ids, reference_ids=other_ids)
    scores = mean_scores(table)
    if verification:
        scores |= verification_scores(
            x, y, others, other_labels, max_memory=max_memory, query_ids=ids, reference_ids=other_ids
        )
    if clustering:
        scores |= clustering_scores(x, y)
    if estimator is not None:
        scores["estimator_accuracy"] = _estimate(estimator, estimator_args or {}, Task(query, reference))
    several = len(np.unique(table.labels)) > 1
    return Scored(scores, class_intervals(table) if several else {}, table)


def _read(path: str) -> NDArray[Any]:
    try:
        return np.asarray(np.load(Path(path), allow_pickle=False, mmap_mode="r"))
    except FileNotFoundError as error:
        raise UserError(f"no file {path}: give a .npy file") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no .npy file of numbers: write it with numpy.save") from error


def _estimate(class_path: str, arguments: Mapping[str, Any], task: Task) -> float:
    if not np.isin(task.query.labels, task.reference.labels).all() or set(task.query.ids) & set(task.reference.ids):
        raise UserError("--estimator needs references apart from the queries, of the same classes: choose such a split")
    module, _, name = class_path.rpartition(".")
    try:
        estimator = getattr(import_module(module), name)(**arguments)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"no estimator {class_path!r} with arguments {dict(arguments)}: {error}") from error
    if not (hasattr(estimator, "fit") and hasattr(estimator, "score")):
        raise UserError(f"{class_path} is no estimator: it needs fit and score, as in scikit-learn")
    fitted = estimator.fit(task.reference.embeddings, task.reference.labels)
    return float(fitted.score(task.query.embeddings, task.query.labels))
