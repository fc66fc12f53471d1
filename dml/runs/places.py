"""Finds a run's files from another folder: paths in its recipe are relative to where it was trained."""

import os
from pathlib import Path
from typing import Any

from dml.errors import UserError
from dml.runs.files import read_json
from dml.runs.folder import CONFIG, PROTOCOL

TRAINED_IN = "working_directory"  # of the protocol: the way there from the run's folder, which may move with it
_PLACES = ("root", "folder", "test", "path", "weights", "runs_dir")  # arguments that name files or folders


def working_directory(run: Path) -> str:
    """Return the path from a run's folder to the present working directory.

    Example:
        >>> working_directory(Path("runs/first"))
        '../..'
    """
    try:
        return Path(os.path.relpath(Path.cwd(), run)).as_posix()
    except ValueError:  # another drive
        return Path.cwd().as_posix()


def with_places(recipe: dict[str, Any], run: Path) -> dict[str, Any]:
    """Return a run's recipe with the paths of its data and model as they are found from here.

    A relative path that exists from the folder the run was trained in means that place, whatever else has its name
    here; one that does not exist from there, because only the run was moved, is left as it is.

    Args:
        recipe: Of the run.
        run: The run's folder.

    Example:
        >>> with_places({"data": {"root": "photos"}}, Path("nowhere"))
        {'data': {'root': 'photos'}}
    """
    try:
        protocol = read_json(run / PROTOCOL) if (run / PROTOCOL).is_file() else {}
    except UserError:  # damaged: whoever needs it says so
        protocol = {}
    way = protocol.get(TRAINED_IN) if isinstance(protocol, dict) else None
    base = None if not isinstance(way, str) else Path(os.path.normpath(run.absolute() / way))
    if base is None or base == Path.cwd():
        return recipe
    return recipe | {name: _found(recipe[name], base) for name in ("data", "model") if name in recipe}


def _found(value: Any, base: Path) -> Any:
    if isinstance(value, list):
        return [_found(item, base) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _place(key, each, base) if isinstance(each, str) else _found(each, base) for key, each in value.items()
    }


def _place(key: str, value: str, base: Path) -> str:
    if not value or value.startswith("~") or "\0" in value:
        return value
    place = base / value
    named = key in _PLACES and os.path.exists(place)  # noqa: PTH110 - also for names that no system takes
    return str(place) if named or (key == "run" and (place / CONFIG).is_file()) else value
