"""Nearest neighbours, exactly: the index, the classifier over it, the choice of its k and metric, densities."""

from dml.neighbors.classifier import KNNClassifier
from dml.neighbors.crossvalidation import CrossValidation, cross_validate
from dml.neighbors.density import KNNBayes, KNNDensity, log_ball_volume
from dml.neighbors.index import NeighborIndex, cluster

__all__ = [
    "CrossValidation",
    "KNNBayes",
    "KNNClassifier",
    "KNNDensity",
    "NeighborIndex",
    "cluster",
    "cross_validate",
    "log_ball_volume",
]
