"""Discriminative learning rates: one group of parameters per layer, from the head down to the first."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from dml.encoders import Encoder, layers_of
from dml.errors import UserError


def parameter_groups(
    head: Iterable[nn.Parameter], encoder: Encoder, encoder_lr: float, decay: float
) -> list[dict[str, Any]]:
    """Return groups in torch.optim's form: the head at the optimiser's rate, then the encoder's layers.

    The last layer learns at `encoder_lr`, each one below it at `decay` times the rate of the one above.

    Args:
        head: Parameters that are not the encoder's.
        encoder: Its lazy sizes are fixed.
        encoder_lr: > 0.
        decay: In (0, 1]; 1: one rate for all layers.

    Raises:
        UserError: A number is out of range.

    Example:
        >>> from dml.encoders import MLPEncoder
        >>> groups = parameter_groups([], MLPEncoder(8, hidden_sizes=[4]), encoder_lr=0.01, decay=0.1)
        >>> [group.get("lr") for group in groups]
        [None, 0.01, 0.001]
    """
    _check(encoder_lr, decay)
    groups: list[dict[str, Any]] = [{"name": "head", "params": list(head)}]
    for depth, layer in enumerate(reversed(layers_of(encoder))):
        groups.append({"name": layer.name, "params": layer.parameters, "lr": encoder_lr * decay**depth})
    return groups


def upper_groups(encoder: Encoder, encoder_lr: float, decay: float) -> list[dict[str, Any]]:
    """Return groups for an encoder without a head: its last layer at the optimiser's rate, then those below.

    The layer below the last learns at `encoder_lr`, each one below it at `decay` times the rate of the one above.
    Frozen weights are not in any group.

    Args:
        encoder: Its lazy sizes are fixed.
        encoder_lr: > 0.
        decay: In (0, 1]; 1: one rate for all layers.

    Raises:
        UserError: A number is out of range.

    Example:
        >>> from dml.encoders import MLPEncoder
        >>> groups = upper_groups(MLPEncoder(8, hidden_sizes=[4, 4]), encoder_lr=0.01, decay=0.1)
        >>> [group.get("lr") for group in groups]
        [None, 0.01, 0.001]
    """
    _check(encoder_lr, decay)
    groups: list[dict[str, Any]] = []
    for depth, layer in enumerate(reversed(layers_of(encoder))):
        learnt = [p for p in layer.parameters if p.requires_grad]
        rate = {} if depth == 0 else {"lr": encoder_lr * decay ** (depth - 1)}
        groups += [{"name": layer.name, "params": learnt, **rate}] if learnt else []
    return groups


def scale_rates(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of an optimiser's first group, and those of the others in proportion, in place.

    Args:
        optimizer: Without a schedule yet.
        rate: ≥ 0.

    Example:
        >>> optimizer = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": lr} for lr in (1.0, 0.5)])
        >>> scale_rates(optimizer, 0.2)
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.2, 0.1]
    """
    first = float(optimizer.param_groups[0]["lr"])
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr"] / first if first else rate


def check_rates(optimizer: torch.optim.Optimizer, rates: list[float]) -> None:
    """Refuse a schedule that set one rate for groups that were to learn at different ones.

    Args:
        optimizer: With its schedule built.
        rates: Of its groups, before that.

    Raises:
        UserError: The groups' first rates are no longer in proportion.

    Example:
        >>> optimizer = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": lr} for lr in (1.0, 0.1)])
        >>> _ = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
        >>> check_rates(optimizer, [1.0, 0.1])
        Traceback (most recent call last):
        ...
        dml.errors.UserError: model.lr_scheduler gives all layers one rate: give one for each of 2 groups, head first
    """
    first = [float(group.get("initial_lr", rate)) for group, rate in zip(optimizer.param_groups, rates, strict=True)]
    if any(
        abs(one * rates[0] - rate * first[0]) > 1e-6 * abs(rate * first[0])
        for one, rate in zip(first, rates, strict=True)
    ):
        raise UserError(
            f"model.lr_scheduler gives all layers one rate: give one for each of {len(rates)} groups, head first"
        )


def _check(encoder_lr: float, decay: float) -> None:
    if encoder_lr <= 0 or not 0 < decay <= 1:
        raise UserError(f"model.encoder_lr={encoder_lr}, model.encoder_lr_decay={decay}: above 0, and in (0, 1]")
