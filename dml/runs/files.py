"""Writes and reads the files of a run, each whole or not at all."""

import io
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dml.errors import UserError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a reader never sees half of it.

    Raises:
        UserError: The disk is full or the folder cannot be written.

    Example:
        >>> file = Path(tempfile.mkdtemp()) / "note.txt"
        >>> write_bytes(file, b"all of it")
        >>> file.read_text()
        'all of it'
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # a temporary file is readable by its owner alone
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {path} ({reason}): free some space or choose another place") from error


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, keys sorted, so that equal values give equal bytes.

    Raises:
        UserError: The disk is full or the folder cannot be written.
        ValueError: A number is NaN or infinite; JSON has no word for it.

    Example:
        >>> file = Path(tempfile.mkdtemp()) / "scores.json"
        >>> write_json(file, {"val": {"recall_at_1": 0.5}})
        >>> read_json(file)
        {'val': {'recall_at_1': 0.5}}
    """
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_bytes(path, f"{text}\n".encode(errors="backslashreplace"))  # a name of bytes that are not UTF-8


def read_json(path: Path) -> Any:
    """Read a JSON file of a run.

    Raises:
        UserError: The file is missing or is not JSON.

    Example:
        >>> read_json(Path("no_runs_yet/scores.json"))
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no file no_runs_yet/scores.json: the run is incomplete
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"no file {path}: the run is incomplete") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}): restore it or run again") from error


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write NumPy arrays by name as one `.npz` archive, compressed; no object is pickled.

    Raises:
        UserError: The disk is full or the folder cannot be written.
        ValueError: An array holds objects.

    Example:
        >>> import numpy as np
        >>> file = Path(tempfile.mkdtemp()) / "rows.npz"
        >>> write_arrays(file, {"labels": np.array([3, 1])})
        >>> read_arrays(file)["labels"]
        array([3, 1])
    """
    import numpy as np

    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise ValueError(f"the array {name!r} holds objects")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, Any]:
    """Read all arrays of an `.npz` archive; pickled objects are refused.

    Raises:
        UserError: There is no such file, or it is not an archive of arrays.

    Example:
        >>> read_arrays(Path("no_runs_yet/queries_val.npz"))
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no file no_runs_yet/queries_val.npz
    """
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise UserError(f"no file {path}") from error
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a NumPy archive, or is damaged: write it again") from error
