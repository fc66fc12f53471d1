"""Metric losses: `loss(embeddings, labels) -> scalar`, each a thin module over `dml.functional.losses`."""

from dml.losses.contrastive import ContrastiveLoss, PullLoss
from dml.losses.matryoshka import MatryoshkaLoss
from dml.losses.memory import CrossBatchMemory
from dml.losses.pml import vicreg_loss
from dml.losses.triplet import TripletLoss
from dml.losses.unlabelled import UnlabelledLoss

__all__ = [
    "ContrastiveLoss",
    "CrossBatchMemory",
    "MatryoshkaLoss",
    "PullLoss",
    "TripletLoss",
    "UnlabelledLoss",
    "vicreg_loss",
]
