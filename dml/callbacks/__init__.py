"""Callbacks: scores and pictures during training, the training watch, checkpoints and the run folder."""

from dml.callbacks.checkpoints import PeriodicCheckpoint, run_checkpoints
from dml.callbacks.collector import Collector
from dml.callbacks.evaluation import KNNEvaluation
from dml.callbacks.interrupt import GracefulInterrupt
from dml.callbacks.neighbor_record import NeighborRecord
from dml.callbacks.pictures import Pictures
from dml.callbacks.random_state import RandomState
from dml.callbacks.reconstructions import Reconstructions
from dml.callbacks.run_folder import RunFolder
from dml.callbacks.run_logger import RunLogger
from dml.callbacks.training_watch import TrainingWatch

__all__ = [
    "Collector",
    "GracefulInterrupt",
    "KNNEvaluation",
    "NeighborRecord",
    "PeriodicCheckpoint",
    "Pictures",
    "RandomState",
    "Reconstructions",
    "RunFolder",
    "RunLogger",
    "TrainingWatch",
    "run_checkpoints",
]
