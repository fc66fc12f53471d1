"""Scores of embeddings, and how certain they are."""

from typing import Any

from dml.embeddings import EmbeddingSet
from dml.evaluation.calibration import Calibration, Measured, calibrate, measure, measure_unseen
from dml.evaluation.classification import (
    ClassCounts,
    ClassScores,
    class_record,
    count_predictions,
    macro_scores,
    precision_recall_f1,
)
from dml.evaluation.clustering import clustering_scores
from dml.evaluation.compression import Compressed, compress
from dml.evaluation.concatenation import concatenate
from dml.evaluation.evaluation import Evaluation, further_scores
from dml.evaluation.hubs import Neighborhoods, find_neighborhoods, find_suspects, occurrences
from dml.evaluation.intervals import Difference, class_intervals, holm, paired_difference
from dml.evaluation.per_class import Confusion, class_scores, confusion_matrix, worst_queries
from dml.evaluation.per_query import QueryScores, mean_scores
from dml.evaluation.retrieval import query_scores, retrieval_scores, score_queries
from dml.evaluation.sign_flips import MOST_CLASSES, SignFlips, sign_flips
from dml.evaluation.verification import verification_scores

__all__ = [
    "MOST_CLASSES",
    "Calibration",
    "ClassCounts",
    "ClassScores",
    "Compressed",
    "Confusion",
    "Difference",
    "EmbeddingSet",
    "Evaluation",
    "Measured",
    "Neighborhoods",
    "QueryScores",
    "SignFlips",
    "calibrate",
    "class_intervals",
    "class_record",
    "class_scores",
    "clustering_scores",
    "compress",
    "concatenate",
    "confusion_matrix",
    "count_predictions",
    "find_neighborhoods",
    "find_suspects",
    "further_scores",
    "holm",
    "macro_scores",
    "mean_scores",
    "measure",
    "measure_unseen",
    "occurrences",
    "paired_difference",
    "precision_recall_f1",
    "query_scores",
    "retrieval_scores",
    "score_queries",
    "sign_flips",
    "verification_scores",
    "worst_queries",
]


def __getattr__(name: str) -> Any:
    if name == "gather_samples":
        raise ImportError("dml.evaluation.gather_samples is now dml.embeddings.EmbeddingSet.gather")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
