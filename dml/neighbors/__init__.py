"""Nearest neighbours, exactly: the index and the classifier over it."""

from typing import Any

from dml.neighbors.classifier import KNNClassifier
from dml.neighbors.clusters import cluster
from dml.neighbors.index import NeighborIndex

__all__ = ["KNNClassifier", "NeighborIndex", "cluster"]

_MOVED = ("CrossValidation", "KNNBayes", "KNNDensity", "cross_validate", "log_ball_volume")


def __getattr__(name: str) -> Any:
    if name in _MOVED:
        raise ImportError(f"dml.neighbors.{name} is now dml.studies.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
