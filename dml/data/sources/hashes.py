"""Remembers the hashes of files, so that only those whose size or time has changed are read again."""

import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import final

from dml import runs

logger = logging.getLogger(__name__)
UNREADABLE = b"unreadable"
STORE = "file_hashes.sqlite"
_TOGETHER = 4096  # files
_ASKED = 512  # paths in one question: SQLite takes 999
_SETTLED = 2_000_000_000  # ns: a file written since may be written again within one tick of the file system's clock
Stamp = tuple[int, int]  # bytes, and the time of the last change in ns


def hash_files(root: Path, names: Sequence[str], read: Callable[[str], bytes]) -> Iterator[bytes]:
    """Yield the hash of each file's content: 16 bytes of BLAKE2b, or `UNREADABLE`.

    Hashes are kept by path, size and time of change in `file_hashes.sqlite` in the user's cache; where that cannot be
    written or is damaged, all files are read.

    Args:
        root: the folder.
        names: of files, relative to it.
        read: reads a file by its name; raises OSError.

    Example:
        >>> root = Path(__file__).parent
        >>> [one] = hash_files(root, [Path(__file__).name], lambda name: (root / name).read_bytes())
        >>> one == hashlib.blake2b(Path(__file__).read_bytes(), digest_size=16).digest()
        True
    """

    def digest(name: str) -> bytes:
        try:
            return hashlib.blake2b(read(name), digest_size=16).digest()
        except OSError:
            return UNREADABLE

    top = os.path.abspath(root)  # noqa: PTH100 - links stay as they are
    store = HashStore(runs.user_cache() / STORE)
    with closing(store), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(names), _TOGETHER):
            some = names[start : start + _TOGETHER]
            now = time.time_ns()
            paths = [os.path.join(top, name) for name in some]  # noqa: PTH118 - many files
            stamps, keys = list(map(_stamp, paths)), list(map(_key, paths))
            known = store.find(keys)
            found = [
                None if stamp is None or key not in known or known[key][:2] != stamp else known[key][2]
                for key, stamp in zip(keys, stamps, strict=True)
            ]
            missing = [at for at, each in enumerate(found) if each is None]
            fresh: list[tuple[int, int, int, bytes]] = []
            for at, hashed in zip(missing, pool.map(digest, [some[at] for at in missing]), strict=True):
                found[at] = hashed
                stamp = stamps[at]
                if stamp is not None and hashed != UNREADABLE and now - stamp[1] > _SETTLED:
                    fresh.append((keys[at], *stamp, hashed))
            store.add(fresh)
            yield from (each for each in found if each is not None)


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - many files
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def _key(path: str) -> int:
    hashed = hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(hashed, "big", signed=True)


@final
class HashStore:
    """Hashes by a number for each path, in a file that any number of processes may use; a broken one is made anew.

    Args:
        path: the file, which need not exist.

    Example:
        >>> import tempfile
        >>> store = HashStore(Path(tempfile.mkdtemp()) / "hashes.sqlite")
        >>> store.add([(7, 100, 200, b"hash")])
        >>> store.find([7, 8])
        {7: (100, 200, b'hash')}
        >>> store.close()
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, timeout=10)
            self._file.execute("PRAGMA synchronous = NORMAL")
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS files (path INTEGER PRIMARY KEY, bytes INTEGER, changed INTEGER, hash BLOB)"
            )
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def find(self, keys: Sequence[int]) -> dict[int, tuple[int, int, bytes]]:
        """Return what is known of these paths: bytes, time of change, hash."""
        known: dict[int, tuple[int, int, bytes]] = {}
        try:
            for start in range(0, len(keys), _ASKED) if self._file is not None else ():
                some = keys[start : start + _ASKED]
                asked = f"SELECT path, bytes, changed, hash FROM files WHERE path IN ({','.join('?' * len(some))})"
                for key, size, changed, hashed in self._file.execute(asked, some):  # type: ignore[union-attr]
                    known[key] = (size, changed, bytes(hashed))
        except (sqlite3.Error, TypeError) as error:
            self._give_up(error)
        return known

    def add(self, rows: Sequence[tuple[int, int, int, bytes]]) -> None:
        """Keep rows of path, bytes, time of change and hash."""
        if self._file is None or not rows:
            return
        try:
            with self._file:
                self._file.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _give_up(self, error: Exception) -> None:
        """Go on without the file; one that is damaged rather than locked, full or forbidden is removed."""
        logger.debug("hashes of files are not kept in '%s' (%s): all are read", self._path, error)
        self.close()
        if isinstance(error, sqlite3.DatabaseError | TypeError) and not isinstance(error, sqlite3.OperationalError):
            self._path.unlink(missing_ok=True)
