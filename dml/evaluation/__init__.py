"""Scores of embeddings and how sure they are."""

from dml.evaluation.scores import QueryScores, mean_scores, query_scores, retrieval_scores

__all__ = ["QueryScores", "mean_scores", "query_scores", "retrieval_scores"]
