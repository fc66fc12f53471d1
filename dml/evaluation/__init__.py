"""Scores of embeddings and how sure they are."""

from dml.evaluation.gathering import gather_samples
from dml.evaluation.scores import QueryScores, mean_scores, query_scores, retrieval_scores

__all__ = ["QueryScores", "gather_samples", "mean_scores", "query_scores", "retrieval_scores"]
