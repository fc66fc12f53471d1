"""Lets the command line name objects within a loss or a miner, which the parser only accepts from a file."""

import json
import re
from collections.abc import Sequence
from typing import Any

from dml import runs

_ROOTS = ("model.loss", "model.miner")
_CLASS = re.compile(r"[a-z_]\w*(\.\w+)*\.[A-Z]\w*")


def nest_classes(keys: Sequence[str]) -> list[str]:
    """Return keys with every class below a loss or a miner, and its arguments, as one value.

    Constructors in other libraries often do not annotate their arguments, and the parser then takes a class path for
    text. Written as a block of a recipe, it becomes an object.

    Args:
        keys: `--KEY VALUE` or `--KEY=VALUE`.

    Example:
        >>> nest_classes(["--model.loss.distance", "pml.distances.LpDistance", "--model.loss.distance.p", "1"])
        ['--model.loss.distance={"class_path": "pml.distances.LpDistance", "init_args": {"p": 1}}']
        >>> nest_classes(["--model.loss", "dml.losses.TripletLoss", "--model.loss.margin=1"])
        ['--model.loss', 'dml.losses.TripletLoss', '--model.loss.margin=1']
    """
    named = _pairs(keys)
    classes = {name: value for name, value, _ in named if _is_nested_class(name, value)}
    outer = [name for name in classes if not any(name.startswith(f"{other}.") for other in classes)]
    kept: list[str] = []
    for name, value, words in named:
        if name in outer:
            kept.append(f"--{name}={json.dumps(_block(name, value, named, classes))}")
        elif not any(name.startswith(f"{other}.") for other in outer):
            kept += words
    return kept


def _pairs(keys: Sequence[str]) -> list[tuple[str, str, list[str]]]:
    """Return name, value and words of every key; a word on its own has no name."""
    found: list[tuple[str, str, list[str]]] = []
    words = list(keys)
    while words:
        word = words.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            found.append(("", "", [word]))
        elif equals:
            found.append((name, value, [word]))
        elif words and not words[0].startswith("--"):
            value = words.pop(0)
            found.append((name, value, [word, value]))
        else:
            found.append((name, "", [word]))
    return found


def _is_nested_class(name: str, value: str) -> bool:
    below = any(name.startswith(f"{root}.") for root in _ROOTS)
    return below and not name.endswith("class_path") and _CLASS.fullmatch(value) is not None


def _block(
    name: str, class_path: str, named: Sequence[tuple[str, str, list[str]]], classes: dict[str, str]
) -> dict[str, Any]:
    """Return a class and its arguments in the form of a recipe."""
    arguments: dict[str, Any] = {}
    for key, value, _ in named:
        inner = key.removeprefix(f"{name}.").removeprefix("init_args.")
        if not key.startswith(f"{name}.") or "." in inner:
            continue
        nested = key in classes
        arguments[inner] = _block(key, value, named, classes) if nested else runs.parse_yaml(value, f"--{key}")
    return {"class_path": class_path} | ({"init_args": arguments} if arguments else {})
