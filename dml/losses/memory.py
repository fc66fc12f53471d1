"""A memory of earlier batches for any tuple loss."""

import inspect
from typing import final

import torch
from torch import Tensor, nn

from dml.errors import UserError
from dml.ranges import MOST_UNITS, check_number


@final
class CrossBatchMemory(nn.Module):
    """Give a loss positives and negatives from earlier batches too.

    Anchors are the embeddings of this batch; their partners are the rest of this batch and the last `memory_size`
    embeddings of earlier batches, which carry no gradient. Queue, pointer and fill level are in the state dict. If
    several processes train, pass it the gathered batch, as `EmbeddingModule` does: then the queues of all ranks are
    equal. In evaluation mode it is just the loss.

    Args:
        loss: One of `dml.losses`, or a pair or triplet loss of pytorch-metric-learning.
        memory_size: How many embeddings are kept, ≥ 1.
        embedding_dim: D.

    Raises:
        UserError: The embeddings have another size than `embedding_dim`.

    Source:
        Wang et al., "Cross-Batch Memory for Embedding Learning" (2020).

    Example:
        >>> from dml.losses import PullLoss
        >>> memory = CrossBatchMemory(PullLoss(), memory_size=100, embedding_dim=1)
        >>> memory(torch.tensor([[0.0], [2.0]]), torch.tensor([0, 0]))
        tensor(4.)
        >>> memory(torch.tensor([[1.0]]), torch.tensor([0])), memory.filled
        (tensor(1.), tensor(3))
    """

    queue: Tensor
    queue_labels: Tensor
    pointer: Tensor
    filled: Tensor

    def __init__(self, loss: nn.Module, memory_size: int, embedding_dim: int) -> None:
        super().__init__()
        check_number("memory_size", memory_size, least=1)
        check_number("embedding_dim", embedding_dim, least=1, most=MOST_UNITS)
        self.loss = loss
        self.register_buffer("queue", torch.zeros(memory_size, embedding_dim))
        self.register_buffer("queue_labels", torch.zeros(memory_size, dtype=torch.int64))
        self.register_buffer("pointer", torch.tensor(0))  # the slot that is written next
        self.register_buffer("filled", torch.tensor(0))  # how many slots hold an embedding

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (B,D) with labels (B,), and remember them."""
        if embeddings.shape[1] != self.queue.shape[1]:
            raise UserError(f"embeddings of size {embeddings.shape[1]}: set the memory's embedding_dim to that")
        if not self.training:
            loss: Tensor = self.loss(embeddings, labels)
            return loss
        filled = int(self.filled)
        everyone = torch.cat([embeddings, self.queue[:filled]])  # (B+M,D), a copy
        everyones = torch.cat([labels, self.queue_labels[:filled]])
        self._remember(embeddings.detach(), labels)
        return loss_against(self.loss, everyone, everyones, len(labels))

    @torch.no_grad()
    def _remember(self, embeddings: Tensor, labels: Tensor) -> None:
        size = len(self.queue)
        kept = min(len(labels), size)
        slots = (self.pointer + torch.arange(kept, device=self.pointer.device)) % size
        self.queue[slots] = embeddings[-kept:].to(self.queue.dtype)
        self.queue_labels[slots] = labels[-kept:].to(self.queue_labels.dtype)
        self.pointer.add_(kept).remainder_(size)
        self.filled.add_(kept).clamp_(max=size)


def loss_against(loss: nn.Module, everyone: Tensor, labels: Tensor, num_anchors: int) -> Tensor:
    """Return the loss of the first rows, the anchors, with all rows as their partners.

    Args:
        loss: One of `dml.losses`, or a pair or triplet loss of pytorch-metric-learning.
        everyone: Embeddings (B+M,D), the anchors first.
        labels: (B+M,).
        num_anchors: B.

    Example:
        >>> from dml.losses import PullLoss
        >>> loss_against(PullLoss(), torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([0, 1, 0]), num_anchors=1)
        tensor(9.)
    """
    value: Tensor
    if "num_anchors" in inspect.signature(loss.forward).parameters:
        value = loss(everyone, labels, num_anchors=num_anchors)
    else:  # pytorch-metric-learning's manner
        anchors, anchor_labels = everyone[:num_anchors], labels[:num_anchors]
        same = anchor_labels[:, None] == labels  # (B,B+M)
        different = torch.where(~same)
        pairs = (*torch.where(same.fill_diagonal_(False)), *different)
        value = loss(anchors, anchor_labels, pairs, ref_emb=everyone, ref_labels=labels)
    return value
