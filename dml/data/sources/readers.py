"""Reads image files one by one, below a folder or inside a zip."""

import errno
import os
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from dml import runs
from dml.data.catalog import Raw, Reader
from dml.data.sources.bounds import MAX_IMAGE_BYTES, open_image
from dml.errors import reason_of


class BytesReader(Reader, Protocol):
    """A reader that also gives files as they are."""

    def read(self, index: int) -> bytes:
        """Read the bytes of file `index`.

        Raises:
            OSError: it is missing or damaged.
        """
        ...


class FileReader:
    """Reads image files by their names below a folder."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root = root
        self.names = names

    def read(self, index: int) -> bytes:
        """Read the bytes of a file, at most `MAX_IMAGE_BYTES`."""
        return runs.read_bytes(self.root / self.names[index], MAX_IMAGE_BYTES)

    def __call__(self, index: int) -> Raw:
        """Read the file; its pixels are decoded when asked for."""
        return open_image(self.read(index))


class _Opened(NamedTuple):
    """An open zip, the process that opened it, and whose turn it is."""

    handle: zipfile.ZipFile
    owner: int
    lock: threading.Lock


class ZipReader:
    """Reads image files inside a zip; threads take turns at one handle, each worker process opens its own."""

    def __init__(self, archive: Path, members: Sequence[str]) -> None:
        self.archive = archive
        self.members = members
        self._opened: _Opened | None = None

    def read(self, index: int) -> bytes:
        """Read the bytes of a member.

        Raises:
            OSError: the member is damaged, or unpacks to more than `MAX_IMAGE_BYTES`.
        """
        opened = self._opened
        if opened is None or opened.owner != os.getpid():  # a handle shared with a parent shares its position
            opened = self._opened = _Opened(zipfile.ZipFile(self.archive), os.getpid(), threading.Lock())
        try:
            member = opened.handle.getinfo(self.members[index])
            if member.file_size > MAX_IMAGE_BYTES:
                raise OSError(errno.EFBIG, f"{member.file_size:,} bytes, more than {MAX_IMAGE_BYTES:,}")
            with opened.lock:  # Python 3.12 mixes up what threads read at the same time
                return opened.handle.read(member)  # never more than it says
        except OSError:
            raise
        except Exception as error:  # a damaged member fails in many ways
            raise OSError(errno.EINVAL, reason_of(error)) from error

    def __call__(self, index: int) -> Raw:
        """Read the member; its pixels are decoded when asked for."""
        return open_image(self.read(index))

    def __getstate__(self) -> dict[str, Any]:
        return {"archive": self.archive, "members": self.members}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
