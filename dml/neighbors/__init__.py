"""Nearest neighbours, exactly: the index and the classifier over it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dml.neighbors.index import NeighborIndex

if TYPE_CHECKING:
    from dml.neighbors.classifier import KNNClassifier
    from dml.neighbors.clusters import cluster

__all__ = ["KNNClassifier", "NeighborIndex", "cluster"]

_LATE = {"KNNClassifier": "classifier", "cluster": "clusters"}  # need scikit-learn, which a search does without
_MOVED = ("CrossValidation", "KNNBayes", "KNNDensity", "cross_validate", "log_ball_volume")


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(f"dml.neighbors.{_LATE[name]}"), name)
    if name in _MOVED:
        raise ImportError(f"dml.neighbors.{name} is now dml.studies.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
