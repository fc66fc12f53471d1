"""Losses: `loss(embeddings, labels) -> scalar`, thin modules over `dml.functional.losses`; one of reconstructions."""

from dml.losses.contrastive import ContrastiveLoss, PullLoss
from dml.losses.likelihood import GaussianLikelihoodLoss
from dml.losses.matryoshka import MatryoshkaLoss
from dml.losses.memory import CrossBatchMemory
from dml.losses.pml import vicreg_loss
from dml.losses.proxies import ProxyContrastiveLoss
from dml.losses.triplet import TripletLoss
from dml.losses.unlabelled import UnlabelledLoss

__all__ = [
    "ContrastiveLoss",
    "CrossBatchMemory",
    "GaussianLikelihoodLoss",
    "MatryoshkaLoss",
    "ProxyContrastiveLoss",
    "PullLoss",
    "TripletLoss",
    "UnlabelledLoss",
    "vicreg_loss",
]
