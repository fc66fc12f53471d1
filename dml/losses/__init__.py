"""Metric losses: `loss(embeddings, labels) -> scalar`, each a thin module over `dml.functional.losses`."""

from dml.losses.contrastive import ContrastiveLoss, PullLoss
from dml.losses.memory import CrossBatchMemory
from dml.losses.triplet import TripletLoss

__all__ = ["ContrastiveLoss", "CrossBatchMemory", "PullLoss", "TripletLoss"]
