"""Changes how an encoder computes, not what: channels innermost in memory, compilation."""

import shutil

import torch
from torch import Tensor, nn

from dml.errors import UserError


def lay_channels_last(network: nn.Module) -> None:
    """Keep a network's weights, and the images it is given, with the channels innermost; the results do not change.

    Args:
        network: Its lazy sizes are fixed; a second call changes nothing.

    Example:
        >>> layer = nn.Conv2d(2, 3, 3)
        >>> lay_channels_last(layer)
        >>> layer(torch.zeros(1, 2, 5, 5)).is_contiguous(memory_format=torch.channels_last)
        True
    """
    network.to(memory_format=torch.channels_last)
    if _channels_last not in network._forward_pre_hooks.values():
        network.register_forward_pre_hook(_channels_last)


def _channels_last(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(each.contiguous(memory_format=torch.channels_last) if each.ndim == 4 else each for each in inputs)


def compile_encoder(network: nn.Module) -> None:
    """Compile a network in place: its weights keep their names, and copies of it are not compiled.

    Args:
        network: Its lazy sizes are fixed.

    Raises:
        UserError: Weights are on the CPU and there is no C++ compiler.

    Example:
        >>> network = nn.Linear(2, 1)
        >>> compile_encoder(network)
        >>> sorted(network.state_dict())
        ['bias', 'weight']
    """
    if not torch.cuda.is_available() and not any(map(shutil.which, ("g++", "clang++", "cl"))):
        raise UserError("model.compile needs a C++ compiler on the CPU: install g++ or clang, or leave the key out")
    network.compile()
