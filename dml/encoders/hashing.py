"""Names an encoder by its content: what it is built from, and every weight."""

import ast
import hashlib
import inspect
import textwrap

import torch
from torch import nn

_PLAIN = (int, float, str, bool, tuple, list, type(None))
_GROUPS = (dict, set, frozenset)
_LIBRARIES = frozenset({"torch", "torchvision", "timm", "transformers", "kornia", "peft"})
_KNOWN = _LIBRARIES | {"dml", "builtins", "abc", "typing"}  # as bases their code does not count, nor do their groups
_OF_TORCH = frozenset(vars(nn.Module())) | {"_compiled_call_impl"}  # the mode, the registries, what compiling leaves


def encoder_hash(network: nn.Module) -> str:
    """Return 32 hexadecimal digits that change with any weight, buffer, class or setting of a network.

    For classes that a user may be writing, the code counts, their base classes' too, but not its comments, docstrings
    or layout, nor functions outside the class; classes of torch and of network libraries count by name, so that another
    release gives the same hash. Settings are numbers, texts, functions and classes, also in lists, sets and dicts; a
    tensor counts as a weight or a buffer, not as a plain attribute, which `forward` may be keeping something in.

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
        tells = _tells_simply if _is_known(kind) else _tells
        plain = {k: _named(v) for k, v in vars(module).items() if k not in _OF_TORCH and tells(v)}
        bases = [base for base in kind.__mro__[1:] if not _is_known(base)]
        source = "\n".join([_source(kind), *map(_source, bases)])
        digest.update(f"{name} {_named(kind)} {sorted(plain.items(), key=str)}\n{source}\n".encode())
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def _is_known(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _KNOWN


def _tells_simply(value: object) -> bool:
    return isinstance(value, _PLAIN) or inspect.isroutine(value) or inspect.isclass(value)


def _tells(value: object) -> bool:
    return _tells_simply(value) or isinstance(value, _GROUPS)


def _named(value: object) -> object:
    """Replace functions and classes by their names, and sort groups: the same in every process."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, dict):
        return sorted(((_named(k), _named(v)) for k, v in value.items() if _tells(v)), key=str)
    if isinstance(value, _GROUPS):
        return sorted((_named(each) for each in value if _tells(each)), key=str)
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"


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
