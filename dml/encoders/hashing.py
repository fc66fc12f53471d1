"""Names an encoder by its content: what it is built of and every weight; it knows nothing of where these came from."""

import hashlib

import torch
from torch import nn

_PLAIN = (int, float, str, bool, tuple, list, type(None))
_OF_TORCH = frozenset(vars(nn.Module()))  # the mode and the registries


def encoder_hash(network: nn.Module) -> str:
    """Return 32 hexadecimal digits that change with any weight, buffer, class or plain setting of a network.

    Args:
        network: Any network whose lazy sizes are fixed. Whether it is in training mode, which of its weights are
            learnt, and on which device it lies changes nothing.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> before = encoder_hash(layer)
        >>> with torch.no_grad():
        ...     _ = layer.weight.mul_(2)
        >>> encoder_hash(layer) == before
        False
    """
    digest = hashlib.sha256()
    for name, module in network.named_modules():
        kind = type(module)
        plain = {k: v for k, v in vars(module).items() if isinstance(v, _PLAIN) and k not in _OF_TORCH}
        digest.update(f"{name} {kind.__module__}.{kind.__qualname__} {sorted(plain.items(), key=str)}\n".encode())
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]
