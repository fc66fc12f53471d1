"""Nearest neighbours, exactly: the index, the classifier over it, and the choice of its k and metric."""

from dml.neighbors.classifier import KNNClassifier
from dml.neighbors.crossvalidation import CrossValidation, cross_validate
from dml.neighbors.index import NeighborIndex, cluster

__all__ = ["CrossValidation", "KNNClassifier", "NeighborIndex", "cluster", "cross_validate"]
