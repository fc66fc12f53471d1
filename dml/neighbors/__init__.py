"""Nearest neighbours, exactly: the index and the classifier over it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dml.neighbors.index import NeighborIndex, cluster

if TYPE_CHECKING:
    from dml.neighbors.classifier import KNNClassifier

__all__ = ["KNNClassifier", "NeighborIndex", "cluster"]

_MOVED = ("CrossValidation", "KNNBayes", "KNNDensity", "cross_validate", "log_ball_volume")


def __getattr__(name: str) -> Any:
    if name == "KNNClassifier":  # needs scikit-learn, which a search does without
        return import_module("dml.neighbors.classifier").KNNClassifier
    if name in _MOVED:
        raise ImportError(f"dml.neighbors.{name} is now dml.studies.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
