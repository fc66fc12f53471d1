"""Writes and reads NumPy arrays and archives of them, whole or not at all, nothing pickled; NumPy is loaded late."""

import io
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dml.errors import UserError, reason_of
from dml.runs.files import open_file, write_bytes


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write NumPy arrays by name as one `.npz` archive, compressed; no object is pickled.

    Raises:
        UserError: The disk is full or the folder cannot be written.
        ValueError: An array holds objects.

    Example:
        >>> import tempfile
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
    with open_archive(path) as archive:
        return {name: archive[name] for name in archive}


@contextmanager
def open_archive(path: Path) -> Iterator[Mapping[str, Any]]:
    """Open an `.npz` archive, whose arrays are read as they are asked for, without anything pickled.

    Raises:
        UserError: There is no such file, it is not an archive of arrays, or it unpacks to more than there is memory.

    Example:
        >>> with open_archive(Path("no_such.npz")) as archive:
        ...     pass
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no file no_such.npz
    """
    import numpy as np

    try:
        with open_file(path) as file, np.load(file, allow_pickle=False) as archive:
            promised = sum(member.file_size for member in archive.zip.infolist())
            if promised > _memory():
                raise ValueError(f"its arrays take {promised:,} bytes, more than this machine's memory")
            if strange := [name for name in archive.zip.namelist() if not name.endswith(".npy")]:
                raise ValueError(f"'{strange[0]}' in it is not an array")
            yield archive
    except FileNotFoundError as error:
        raise UserError(f"no file {path}") from error
    except UserError:
        raise
    except Exception as error:  # a damaged file fails in many ways
        told = f"{path} is not a NumPy archive, or is damaged ({reason_of(error)})"
        raise UserError(f"{told}: write it again, with numpy.savez") from error


def read_array(path: Path) -> Any:
    """Map the array of a `.npy` file into memory; pickled objects are refused.

    Raises:
        UserError: There is no such file, or it is not an array.

    Example:
        >>> read_array(Path("no_such.npy"))
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no file no_such.npy: give a .npy file
    """
    import numpy as np

    try:
        open_file(path).close()
        found = np.load(path, allow_pickle=False, mmap_mode="r")
        if isinstance(found, np.ndarray):
            return found
        found.close()
        raise ValueError("it is an archive")
    except FileNotFoundError as error:
        raise UserError(f"no file {path}: give a .npy file") from error
    except Exception as error:  # a damaged file fails in many ways
        told = f"{path} is not a .npy file of numbers ({reason_of(error)}): write it with numpy.save"
        raise UserError(told) from error


def _memory() -> float:
    """Return the bytes of memory this machine has, infinity where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf
