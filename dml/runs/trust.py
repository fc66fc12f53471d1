"""Decides which classes a recipe may name: those of a few libraries, and of modules the user trusts by name."""

import inspect
import re
import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from types import ModuleType
from typing import Any

from dml.errors import UserError

LIBRARIES = (
    *("dml", "torch.nn", "torch.optim", "torch.utils.data", "pytorch_metric_learning", "lightning.fabric.plugins"),
    *("torchvision.datasets", "torchvision.models", "torchvision.ops", "torchvision.transforms"),
    *("timm.layers", "timm.loss", "timm.models", "timm.optim"),
    *(f"lightning.pytorch.{part}" for part in ("callbacks", "cli", "loggers", "plugins", "profilers", "strategies")),
)
NAMED = "dml, torch, torchvision, timm, pytorch_metric_learning or lightning, as SECURITY.md lists"
_BUILDERS = ("dml", "torchvision.models")  # whose functions build objects; others' may do anything
_PURE = ("torch.nn.functional", "torch._C._nn")  # functions of tensors, defaults of some constructors
_UNSAFE = ("torch.utils.data.datapipes", "torchvision.datasets.lsun")  # open files for writing, read pickles
_KINDS = {
    *("torch.nn.modules.module.Module", "torch.optim.optimizer.Optimizer", "torch.optim.lr_scheduler.LRScheduler"),
    *("torch.utils.data.sampler.Sampler", "torch.utils.data.dataset.Dataset"),
    *("dml.data.catalog.Source", "dml.data.splits.splits.Split", "dml.data.labelled_data.LabelledData"),
}
_trusted: ContextVar[tuple[str, ...] | None] = ContextVar("trusted", default=None)  # None: outside `trusting`


@contextmanager
def trusting(*modules: str) -> Iterator[None]:
    """Trust modules, and all below them, to be named by recipes while the context lasts.

    Args:
        modules: As `import` names them: `my_package`, `my_package.encoders`.

    Raises:
        UserError: A name is not a module's.

    Example:
        >>> with trusting("my_package"):
        ...     trusted_modules()
        ('my_package',)
    """
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")) or module.partition(".")[0] == "jsonargparse":
            raise UserError(f"{module!r} is not a module that can be trusted: give a name like my_package.encoders")
    token = _trusted.set((*trusted_modules(), *modules))
    try:
        yield
    finally:
        _trusted.reset(token)


def extend_trust(*modules: str) -> None:
    """Trust more modules until the present `trusting` ends; outside one, nothing changes.

    Example:
        >>> with trusting():
        ...     extend_trust("mine")
        ...     trusted_modules()
        ('mine',)
    """
    if _trusted.get() is not None:
        _trusted.set(tuple(dict.fromkeys((*trusted_modules(), *modules))))


def trusted_modules() -> tuple[str, ...]:
    """Return the modules that are trusted besides the libraries.

    Example:
        >>> trusted_modules()
        ()
    """
    return _trusted.get() or ()


@contextmanager
def guarded_imports() -> Iterator[None]:
    """Make jsonargparse import for a recipe only from the libraries and the trusted modules.

    Its own settings are restored on leaving, so that other users of jsonargparse are not affected.
    """
    from jsonargparse import _common, set_parsing_settings

    before = dict(_common.parsing_settings)
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=[*LIBRARIES, *trusted_modules()])
    if hidden := [entry for entry in _UNSAFE if not _is_within(entry, trusted_modules())]:
        set_parsing_settings(import_path_denylist=hidden)
    try:
        yield
    finally:
        _common.parsing_settings.update(before)


def check_classes(recipe: Any, key: str = "") -> None:
    """Refuse a parsed recipe that names anything but classes of the kinds a recipe is made of; nothing is built yet.

    Args:
        recipe: As the parser returns it: nested mappings and lists; a function stands for itself.
        key: Where it stands in the whole recipe, for errors.

    Raises:
        UserError: It names a function that may do anything, or a class of another kind.

    Example:
        >>> check_classes({"optimizer": {"class_path": "torch.optim.Adam"}})
        >>> check_classes({"optimizer": {"class_path": "torch.hub.load"}})
        Traceback (most recent call last):
        ...
        dml.errors.UserError: optimizer: torch.hub.load is not a class that a recipe may name, one of dml, ...
    """
    if isinstance(recipe, list | tuple | set):
        for item in recipe:
            check_classes(item, key)
        return
    entries = vars(recipe) if type(recipe).__name__ == "Namespace" else recipe
    if isinstance(entries, dict):
        if isinstance(path := entries.get("class_path"), str):
            _check(_resolve(path), path, key)
        for name, value in entries.items():
            check_classes(value, key if name == "init_args" else f"{key}.{name}".strip("."))
    elif inspect.isroutine(recipe) or inspect.isclass(recipe) or isinstance(recipe, ModuleType):
        _check(recipe, f"{getattr(recipe, '__module__', '')}.{getattr(recipe, '__qualname__', recipe)}", key)


def refused_import(message: str) -> str | None:
    """Return how to fix it if jsonargparse says that it refused to import something, None if it says something else.

    Example:
        >>> refused_import("Importing 'evil.Encoder' is not allowed, denied by the '*' entry of ...")
        'evil.Encoder is not of dml, ... as SECURITY.md lists: if you trust its author, add --trust evil'
    """
    match = re.search(r"Importing '([\w.]+)' is not allowed", message)
    if match is None:
        return None
    return f"{match[1]} is not of {NAMED}: {_mend(match[1])}"


def _check(found: Any, path: str, key: str) -> None:
    defined = str(getattr(found, "__module__", ""))
    if any(_is_within(place, trusted_modules()) for place in (path, defined)):
        return
    if inspect.isroutine(found) and _is_within(defined, _PURE):
        return
    known = _is_within(defined, LIBRARIES) and not _is_within(defined, _UNSAFE)
    builder = inspect.isroutine(found) and _is_within(defined, _BUILDERS) and _is_kind(_returned(found))
    if not (known and (builder or _is_kind(found))):
        prefix = f"{key}: " if key else ""
        raise UserError(f"{prefix}{path} is not a class that a recipe may name, one of {NAMED}: {_mend(path)}")


def _mend(path: str) -> str:
    """Return what can be done about a refused path; it never advises trusting the standard library."""
    root = path.partition(".")[0]
    if root in sys.stdlib_module_names or any(_is_within(library, (root,)) for library in LIBRARIES):
        return "give another, or be wary of whoever wrote it"
    return f"if you trust its author, add --trust {root}"


def _is_within(path: str, modules: tuple[str, ...]) -> bool:
    return any(path == module or path.startswith(f"{module}.") for module in modules)


def _is_kind(found: Any) -> bool:
    """Tell whether this is a class of networks, optimisers, samplers, data; of Lightning's or transforms, any class."""
    if not inspect.isclass(found):
        return False
    if found.__module__.startswith(("lightning.", "torchvision.transforms.")):
        return True
    return any(f"{base.__module__}.{base.__qualname__}" in _KINDS for base in found.__mro__)


def _returned(function: Any) -> Any:
    try:
        return typing.get_type_hints(function).get("return")
    except (NameError, TypeError, AttributeError):
        return None


def _resolve(path: str) -> Any:
    """Return what a path names if its module was imported while the recipe was parsed; else nothing."""
    module, found = path, None
    while module:
        module, _, _ = module.rpartition(".")
        if module in sys.modules or (module and _is_within(module, (*LIBRARIES, *trusted_modules()))):
            try:
                found = import_module(module)
                for name in path.removeprefix(f"{module}.").split("."):
                    found = getattr(found, name)
            except (ImportError, AttributeError):
                continue
            return found
    return None
