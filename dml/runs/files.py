"""Writes and reads the files of a run, each whole or not at all."""

import errno
import json
import math
import os
import stat
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from dml.errors import UserError, reason_of


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading; refuses pipes, which would wait, devices, which may never end, and folders.

    Raises:
        OSError: It is missing, cannot be read, or is not a regular file.

    Example:
        >>> open_file(Path("/dev/null"))
        Traceback (most recent call last):
        ...
        OSError: [Errno 22] not a regular file: '/dev/null'
    """
    irregular = OSError(errno.EINVAL, "not a regular file", str(path))
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - opening a device may already do something
            raise irregular
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except ValueError as error:
        raise OSError(errno.EINVAL, "a name cannot hold a NUL byte", str(path)) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):  # another since it was looked at
        os.close(handle)
        raise irregular
    return os.fdopen(handle, "rb")


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Read a regular file whole.

    Args:
        path: The file.
        most: Bytes it may have; None: any number.

    Raises:
        OSError: It cannot be read, is not a regular file, or is larger.

    Example:
        >>> file = Path(tempfile.mkdtemp()) / "note.txt"
        >>> write_bytes(file, b"all of it")
        >>> read_bytes(file, most=4)
        Traceback (most recent call last):
        ...
        OSError: [Errno 27] 9 bytes, more than 4: ...
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        bound = math.inf if most is None else most
        content = file.read(size + 1) if size <= bound else b""  # a buffer no larger than the file
        while (
            len(content) > size and len(content) <= bound and (more := file.read(2**20))
        ):  # it grows, or tells no size
            content += more
        if max(size, len(content)) > bound:
            raise OSError(errno.EFBIG, f"{max(size, len(content)):,} bytes, more than {most:,}", str(path))
        return content


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
        if os.path.exists(path) and not path.is_file():  # noqa: PTH110
            raise OSError(errno.EINVAL, "not a regular file", str(path))  # a device would be replaced by a file
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # a temporary file is readable by its owner alone
        temporary.replace(path)
    except (OSError, ValueError) as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise UserError(f"cannot write {path} ({reason_of(error)}): free some space or choose another place") from error


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, keys sorted, so that equal values give equal bytes.

    Raises:
        UserError: The disk is full or the folder cannot be written.
        ValueError: A number is NaN or infinite, which JSON lacks.

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
        return json.loads(read_bytes(path).decode(), parse_float=_finite, parse_constant=_finite)
    except FileNotFoundError as error:
        raise UserError(f"no file {path}: the run is incomplete") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason_of(error)}): restore it or run again") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({reason_of(error)}): restore it or run again") from error


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number
