"""Collects embeddings over the batches of an evaluation loop, and over processes; it scores nothing."""

from typing import NamedTuple, final

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, distributed

from dml.data import Batch
from dml.encoders import Encoder


def encoder_of(module: LightningModule) -> Encoder:
    """Return the encoder of one of our modules.

    Example:
        >>> from dml.encoders import FlattenEncoder
        >>> from dml.losses import PullLoss
        >>> from dml.modules import EmbeddingModule
        >>> type(encoder_of(EmbeddingModule(FlattenEncoder(), PullLoss()))).__name__
        'FlattenEncoder'
    """
    encoder = module.encoder
    assert isinstance(encoder, Encoder)
    return encoder


class Embedded(NamedTuple):
    """Embedded images on the CPU, one row a sample, in the order of their ids."""

    embeddings: Tensor  # (N,D) float32
    labels: Tensor  # (N,) int64
    ids: Tensor  # (N,) int64


@final
class Collector:
    """Gathers batches and returns every sample once, over all processes and without their padding.

    Example:
        >>> collector = Collector()
        >>> collector.add(torch.ones(2, 3), Batch(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), torch.tensor([7, 5])))
        >>> collector.collect().ids
        tensor([5, 7])
    """

    def __init__(self) -> None:
        self._parts: list[Embedded] = []

    def add(self, embeddings: Tensor, batch: Batch) -> None:
        """Keep the embeddings (B,D) of a batch."""
        self._parts.append(Embedded(embeddings.detach().float().cpu(), batch.labels.cpu(), batch.ids.cpu()))

    def collect(self) -> Embedded:
        """Return the samples of all processes, each once, ordered by id."""
        own = Embedded(*(torch.cat(column) for column in zip(*self._parts, strict=True)))
        parts: list[Embedded] = [own]
        if distributed.is_available() and distributed.is_initialized():
            parts = [own] * distributed.get_world_size()
            distributed.all_gather_object(parts, own)
        embeddings, labels, ids = (torch.cat(column) for column in zip(*parts, strict=True))
        unique, inverse = ids.unique(return_inverse=True)
        first = torch.full_like(unique, len(ids)).scatter_reduce_(0, inverse, torch.arange(len(ids)), "amin")
        return Embedded(embeddings[first], labels[first], unique)
