"""Lets one process at a time work in a folder; the system frees it when that process ends, however it ends."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dml.errors import UserError


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made where it is missing; where the system has no such locks, nothing is held.

    Args:
        folder: The folder.

    Raises:
        UserError: Another process holds it.

    Example:
        >>> import tempfile
        >>> with held(Path(tempfile.mkdtemp()) / "sweep"):
        ...     print("alone")
        alone
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another process is at work in {folder}: wait for it, or choose another --name") from None
        yield
