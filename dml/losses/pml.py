"""Everything that depends on how pytorch-metric-learning 2 works: what its losses need in a loop and from a recipe."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_COUNTERS = ("queue_idx", "has_been_filled")  # of CrossBatchMemory


def takes_tuples(loss: nn.Module) -> bool:
    """Tell whether a loss takes the tuples of a miner as its third argument.

    Example:
        >>> from pytorch_metric_learning.losses import TripletMarginLoss
        >>> takes_tuples(TripletMarginLoss()), takes_tuples(nn.MSELoss())
        (True, False)
    """
    told = getattr(loss, "takes_tuples", None)  # of a loss around others, which may not
    return "indices_tuple" in inspect.signature(loss.forward).parameters if told is None else bool(told)


def compares_unit_rows(loss: nn.Module) -> bool:
    """Tell whether a loss brings embeddings to length one before it compares them, as most of that library's do.

    Example:
        >>> from pytorch_metric_learning.distances import LpDistance
        >>> from pytorch_metric_learning.losses import MultiSimilarityLoss, TripletMarginLoss
        >>> plain = TripletMarginLoss(distance=LpDistance(normalize_embeddings=False))
        >>> compares_unit_rows(MultiSimilarityLoss()), compares_unit_rows(plain)
        (True, False)
    """
    return any(getattr(module, "normalize_embeddings", False) is True for module in loss.modules())


def release_graph(loss: nn.Module) -> None:
    """Detach what a loss remembers of a batch from that batch's graph, in place.

    DynamicSoftMarginLoss, for example, keeps a running histogram with its graph, which the next backward would enter.

    Args:
        loss: Any loss; its parameters and buffers are left alone.

    Example:
        >>> import torch
        >>> loss = nn.Module()
        >>> loss.remembered = torch.ones(1, requires_grad=True) * 2
        >>> release_graph(loss)
        >>> loss.remembered.requires_grad
        False
    """
    for module in loss.modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and value.grad_fn is not None:
                setattr(module, name, value.detach())


def remembered(loss: nn.Module) -> dict[str, dict[str, Any]]:
    """Return what a loss remembers of earlier batches outside its state dict, by submodule and attribute.

    CrossBatchMemory keeps its place in the queue like that, DynamicSoftMarginLoss its histogram.

    Args:
        loss: Any loss.

    Example:
        >>> from pytorch_metric_learning.losses import ContrastiveLoss, CrossBatchMemory
        >>> remembered(CrossBatchMemory(ContrastiveLoss(), embedding_size=2))[""]["queue_idx"]
        0
    """
    kept = {}
    for name, module in loss.named_modules():
        own = {key: value.detach() for key, value in vars(module).items() if isinstance(value, Tensor)}
        if hasattr(module, "add_to_memory"):
            own.pop("curr_batch_idx", None)  # of the batch at hand, written anew by the next
            own |= {key: vars(module)[key] for key in _COUNTERS}
        if own:
            kept[name] = own
    return kept


def recall(loss: nn.Module, kept: Mapping[str, Mapping[str, Any]]) -> None:
    """Restore what a loss `remembered`, in place; anything it has no place for is skipped."""
    modules = dict(loss.named_modules())
    for name, own in kept.items():
        for key, value in own.items():
            if name in modules and key in vars(modules[name]):
                setattr(modules[name], key, value)


def without_memory(loss: nn.Module) -> nn.Module:
    """Return the loss within pytorch-metric-learning's CrossBatchMemory, which would remember what it evaluates.

    Args:
        loss: Any loss; all others are returned as they are.

    Example:
        >>> from pytorch_metric_learning.losses import ContrastiveLoss, CrossBatchMemory
        >>> type(without_memory(CrossBatchMemory(ContrastiveLoss(), embedding_size=2))).__name__
        'ContrastiveLoss'
    """
    within: nn.Module = loss.loss if hasattr(loss, "add_to_memory") else loss  # type: ignore[assignment]
    return within


def loss_of_parts(loss: nn.Module, embeddings: Tensor, labels: Tensor, size: int) -> Tensor:
    """Return the mean of a loss over parts of a batch: some losses list every triplet, and grow with its cube.

    Args:
        loss: `loss(embeddings, labels) -> scalar`.
        embeddings: (B,D).
        labels: (B,).
        size: Images in a part at most; each part takes every n-th, so that images in order of their classes are mixed.

    Example:
        >>> from pytorch_metric_learning.losses import ContrastiveLoss
        >>> rows, labels = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 0, 1, 1])
        >>> float(loss_of_parts(ContrastiveLoss(), rows, labels, 2))
        1.0
    """
    parts = max(1, -(-len(labels) // size))
    total = embeddings.new_zeros((), dtype=torch.float32)
    for first in range(parts):
        own = labels[first::parts]
        total = total + loss(embeddings[first::parts], own).float() * len(own)
    return total / len(labels)


def vicreg_loss(
    invariance_lambda: float = 25.0, variance_mu: float = 25.0, covariance_v: float = 1.0, eps: float = 1e-4
) -> nn.Module:
    """Return pytorch-metric-learning's VICRegLoss, whose constructor refuses the defaults that a recipe passes.

    Args:
        invariance_lambda: Weight of the distance between the views.
        variance_mu: Weight of the variance term.
        covariance_v: Weight of the covariance term.
        eps: Added to the variance.

    Example:
        >>> vicreg_loss(variance_mu=10.0).variance_mu
        10.0
    """
    from pytorch_metric_learning.losses import VICRegLoss  # takes 2 s

    loss: nn.Module = VICRegLoss(invariance_lambda, variance_mu, covariance_v, eps)
    return loss
