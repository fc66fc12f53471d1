"""Nearest neighbours, exactly: the index and the classifier over it."""

from dml.neighbors.classifier import KNNClassifier
from dml.neighbors.index import NeighborIndex

__all__ = ["KNNClassifier", "NeighborIndex"]
