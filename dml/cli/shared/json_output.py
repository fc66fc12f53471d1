"""What `--json` prints: a single JSON value on standard output; every other line goes to standard error."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json` to a verb's options.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_json(parser)
        >>> parser.parse_args(["--json"]).json
        True
    """
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else on standard output")


@contextmanager
def json_alone(wanted: bool) -> Iterator[Callable[[Any], None]]:
    """Give a function that prints a value as JSON; meanwhile everything else that is printed goes to standard error.

    Args:
        wanted: Whether `--json` was given; otherwise output stays where it is.

    Example:
        >>> with json_alone(True) as print_json:
        ...     print("embedding ...")
        ...     print_json({"recall_at_1": 1.0, "loss": float("nan")})
        {
          "recall_at_1": 1.0,
          "loss": null
        }
    """
    output = sys.stdout

    def print_json(value: Any) -> None:
        print(json_text(value), file=output, flush=True)

    with redirect_stdout(sys.stderr if wanted else output):
        yield print_json


def json_text(value: Any, indent: int | None = 2) -> str:
    """Return a value as JSON; NaN and infinity, which JSON lacks, become null.

    Example:
        >>> json_text({"folder": Path("runs"), "p": (0.5, float("inf"))}, indent=None)
        '{"folder": "runs", "p": [0.5, null]}'
    """
    return json.dumps(plain(value), indent=indent, allow_nan=False)


def plain(value: Any) -> Any:
    """Return a value made of JSON's types: mappings, lists, strings, finite numbers, null.

    Args:
        value: Tuples become lists, paths strings, NumPy's scalars numbers.

    Example:
        >>> plain({0.1: [float("-inf"), True]})
        {'0.1': [None, True]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, str) and hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
