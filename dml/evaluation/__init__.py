"""Scores of embeddings and how sure they are."""

from dml.evaluation.clustering import clustering_scores
from dml.evaluation.details import Confusion, class_scores, confusion_matrix, worst_queries
from dml.evaluation.gathering import gather_samples
from dml.evaluation.scores import QueryScores, mean_scores, query_scores, retrieval_scores
from dml.evaluation.uncertainty import Difference, class_intervals, paired_difference
from dml.evaluation.verification import verification_scores

__all__ = [
    "Confusion",
    "Difference",
    "QueryScores",
    "class_intervals",
    "class_scores",
    "clustering_scores",
    "confusion_matrix",
    "gather_samples",
    "mean_scores",
    "paired_difference",
    "query_scores",
    "retrieval_scores",
    "verification_scores",
    "worst_queries",
]
