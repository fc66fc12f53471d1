"""Names an encoder by its content: what it is built from, and every weight."""

import ast
import hashlib
import inspect
import textwrap

import torch
from torch import nn

_PLAIN = (int, float, str, bool, tuple, list, type(None))
_LIBRARIES = frozenset({"torch", "torchvision", "timm", "transformers", "kornia", "peft"})
_OF_TORCH = frozenset(vars(nn.Module())) | {"_compiled_call_impl"}  # the mode, the registries, what compiling leaves


def encoder_hash(network: nn.Module) -> str:
    """Return 32 hexadecimal digits that change with any weight, buffer, class or setting of a network.

    For classes that a user may be writing, the code counts, but not its comments, docstrings or layout; classes of
    torch and of network libraries count by name, so that another release gives the same hash.

    Args:
        network: Any network whose lazy sizes are fixed. Whether it is in training mode, which of its weights are
            learnt, and which device it is on make no difference.

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
        plain = {k: _named(v) for k, v in vars(module).items() if k not in _OF_TORCH and _tells(v)}
        digest.update(f"{name} {_named(kind)} {sorted(plain.items(), key=str)}\n{_source(kind)}\n".encode())
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def _tells(value: object) -> bool:
    return isinstance(value, _PLAIN) or inspect.isroutine(value) or inspect.isclass(value)


def _named(value: object) -> object:
    """Replace functions and classes by their names, which are the same in every process."""
    return value if isinstance(value, _PLAIN) else f"{value.__module__}.{getattr(value, '__qualname__', '')}"


def _source(kind: type) -> str:
    """Return the code of a class without comments and docstrings; empty if it has none, or is a library's."""
    if kind.__module__.partition(".")[0] in _LIBRARIES:
        return ""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
