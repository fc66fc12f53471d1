"""Files below a root that is a folder or a zip: names, bytes, readers, content hashes."""

import errno
import hashlib
import logging
import os
import threading
import zipfile
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from dml import runs
from dml.data.catalog import Raw, Reader
from dml.data.sources.bounds import MAX_IMAGE_BYTES, damage_told, leads_outside, open_image
from dml.errors import UserError, printable, reason_of

logger = logging.getLogger(__name__)
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"})


def is_image_name(name: str) -> bool:
    """Tell whether a file name looks like an image; hidden files and macOS's shadow folder never do.

    Example:
        >>> is_image_name("a/B.JPG"), is_image_name("a/._b.jpg"), is_image_name("__MACOSX/a.jpg")
        (True, False, False)
    """
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


class Tree(ABC):
    """Files by their relative names, with forward slashes on every system."""

    root: Path

    @abstractmethod
    def names(self) -> list[str]:
        """List all files that are not hidden, sorted."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            OSError: it is missing or damaged.
        """

    @abstractmethod
    def reader(self, names: list[str]) -> Reader:
        """Make a reader of these images."""

    @abstractmethod
    def fingerprint(self, names: list[str]) -> str:
        """Hash names and contents of these files; what cannot be read counts by its name."""

    def images(self) -> list[str]:
        """List all files that look like images, sorted."""
        return [name for name in self.names() if is_image_name(name)]


def open_tree(root: str, anywhere: bool = False) -> Tree:
    """Open a folder or a zip.

    Args:
        root: its path.
        anywhere: also take a zip whose members' names lead out of it.

    Raises:
        UserError: it does not exist or is not a readable zip.

    Example:
        >>> open_tree("no/such/place")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no folder or zip 'no/such/place': give an existing one, for example in data.root
    """
    path = Path(root).expanduser()
    if not os.path.exists(path):  # noqa: PTH110 - also for names that no system takes
        raise UserError(f"no folder or zip '{root}': give an existing one, for example in data.root")
    return Folder(path) if path.is_dir() else Zip(path, anywhere)


class Folder(Tree):
    """Files below a folder; links are followed, but each folder is read once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Walk the folder."""
        try:
            return sorted(path.relative_to(self.root).as_posix() for path in walk(self.root))
        except OSError as error:
            told = f"folder '{error.filename}' cannot be read ({reason_of(error)})"
            raise UserError(f"{told}: allow it, or move the folder away") from error

    def read(self, name: str) -> bytes:
        """Read the file, of at most `MAX_IMAGE_BYTES`."""
        return runs.read_bytes(self.root / name, MAX_IMAGE_BYTES)

    def reader(self, names: list[str]) -> Reader:
        """Read by path."""
        return FileReader([self.root / name for name in names])

    def fingerprint(self, names: list[str]) -> str:
        """Hash the bytes of all files."""

        def digest(name: str) -> bytes:
            try:
                return hashlib.blake2b(self.read(name), digest_size=16).digest()
            except OSError:
                return b"unreadable"

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            return fold(names, pool.map(digest, names))


def walk(root: Path) -> Iterator[Path]:
    """Yield the files below a folder, hidden ones left out, each folder once however many links lead to it.

    Links come last, in sorted order; one to a folder that holds the root is not entered, nor one that no system opens.
    """
    top = os.path.realpath(root)
    seen = {str(folder) for folder in Path(top).parents}
    folders, links, again = [root], deque[Path](), list[Path]()
    while folders or links:
        linked = not folders
        folder = links.popleft() if linked else folders.pop()
        real = os.path.realpath(folder)
        if real in seen:
            loop = os.path.realpath(folder.parent).startswith(real)
            again += [] if loop or not linked else [folder]
            continue
        seen.add(real)
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
        for entry in inside:
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            if path.is_dir():
                (links if entry.is_symlink() else folders).append(path)
            elif path.is_file():
                yield path
    if again:
        first = printable(str(again[0].relative_to(root)))
        logger.warning("%d link(s) to folders that are read already passed over: '%s', …", len(again), first)


class Zip(Tree):
    """Members of a zip, read without unpacking."""

    def __init__(self, root: Path, anywhere: bool = False) -> None:
        self.root = root
        with (
            damage_told(f"zip '{root}'", "it is not a readable zip: give a folder or a whole .zip"),
            runs.open_file(root) as file,
            zipfile.ZipFile(file) as archive,
        ):
            self.checksums = {info.filename: f"{info.CRC} {info.file_size}" for info in archive.infolist()}
        outside = [name for name in self.checksums if leads_outside(name)]
        if outside and not anywhere:
            raise UserError(
                f"'{root}': {len(outside)} members have names that lead out of it, first '{outside[0]}': "
                "pack it anew, or set data.source.anywhere to true, its path under data.source.root"
            )

    def names(self) -> list[str]:
        """List the members."""
        return sorted(name for name in self.checksums if not name.endswith("/"))

    def read(self, name: str) -> bytes:
        """Read a member."""
        return ZipReader(self.root, [name]).read(0)

    def reader(self, names: list[str]) -> Reader:
        """Read by member name."""
        return ZipReader(self.root, names)

    def fingerprint(self, names: list[str]) -> str:
        """Hash the checksums that the zip stores, without reading the members."""
        return fold(names, (self.checksums[name].encode() for name in names))


def fold(names: list[str], digests: Any) -> str:
    """Hash names with the hashes of their contents."""
    total = hashlib.blake2b(digest_size=16)
    for name, digest in zip(names, digests, strict=True):
        total.update(name.encode("utf-8", "surrogateescape") + b"\0" + digest + b"\n")
    return total.hexdigest()


class FileReader:
    """Reads image files by path."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __call__(self, index: int) -> Raw:
        """Read the file, of at most `MAX_IMAGE_BYTES`; its pixels are decoded when asked for."""
        return open_image(runs.read_bytes(self.paths[index], MAX_IMAGE_BYTES))


class ZipReader:
    """Reads image files inside a zip; threads share one handle, each worker process opens its own."""

    def __init__(self, archive: Path, members: list[str]) -> None:
        self.archive = archive
        self.members = members
        self._forget()

    def _forget(self) -> None:
        self._handle: zipfile.ZipFile | None = None
        self._owner = -1
        self._lock = threading.Lock()

    def read(self, index: int) -> bytes:
        """Read the bytes of a member.

        Raises:
            OSError: the member is damaged, or unpacks to more than `MAX_IMAGE_BYTES`.
        """
        with self._lock:
            if self._handle is None or self._owner != os.getpid():  # a handle shared with a parent shares its position
                self._handle, self._owner = zipfile.ZipFile(self.archive), os.getpid()
        try:
            member = self._handle.getinfo(self.members[index])
            if member.file_size > MAX_IMAGE_BYTES:
                raise OSError(errno.EFBIG, f"{member.file_size:,} bytes, more than {MAX_IMAGE_BYTES:,}")
            return self._handle.read(member)  # never more than it says
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
