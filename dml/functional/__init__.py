"""Pure tensor functions, without state, files or Lightning."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name in {"angles", "codes"}:
        raise ImportError(f"dml.functional.{name} is now dml.studies.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
