"""Files below a root that is a folder or a zip: names, bytes, readers, content hashes."""

import hashlib
import io
import os
import threading
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from dml.data.catalog import Raw, Reader
from dml.errors import UserError

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


def open_tree(root: str) -> Tree:
    """Open a folder or a zip.

    Raises:
        UserError: it does not exist or is not a readable zip.

    Example:
        >>> open_tree("no/such/place")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no folder or zip 'no/such/place': give an existing one, for example in data.root
    """
    path = Path(root).expanduser()
    if not path.exists():
        raise UserError(f"no folder or zip '{root}': give an existing one, for example in data.root")
    return Folder(path) if path.is_dir() else Zip(path)


class Folder(Tree):
    """Files below a folder; links are followed, loops of links are not."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Walk the folder."""
        return sorted(path.relative_to(self.root).as_posix() for path in walk(self.root))

    def read(self, name: str) -> bytes:
        """Read the file."""
        return (self.root / name).read_bytes()

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
    """Yield files below a folder, hidden ones left out; a link back to one of its own parents is not entered."""
    stack: list[tuple[Path, frozenset[str]]] = [(root, frozenset())]
    while stack:
        folder, above = stack.pop()
        real = os.path.realpath(folder)
        if real in above:
            continue
        for path in folder.iterdir():
            if path.name.startswith("."):
                continue
            if path.is_dir():
                stack.append((path, above | {real}))
            elif path.is_file():
                yield path


class Zip(Tree):
    """Members of a zip, read without unpacking."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            with zipfile.ZipFile(root) as archive:
                self.checksums = {info.filename: f"{info.CRC} {info.file_size}" for info in archive.infolist()}
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"'{root}' is not a readable zip ({error}): give a folder or a whole .zip") from None

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
        """Read the file; its pixels are decoded when asked for."""
        return Image.open(io.BytesIO(self.paths[index].read_bytes()))


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
            OSError: the member is damaged.
        """
        with self._lock:
            if self._handle is None or self._owner != os.getpid():  # a handle shared with a parent shares its position
                self._handle, self._owner = zipfile.ZipFile(self.archive), os.getpid()
        try:
            return self._handle.read(self.members[index])
        except (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError, EOFError) as error:
            raise OSError(str(error)) from error

    def __call__(self, index: int) -> Raw:
        """Read the member; its pixels are decoded when asked for."""
        return Image.open(io.BytesIO(self.read(index)))

    def __getstate__(self) -> dict[str, Any]:
        return {"archive": self.archive, "members": self.members}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
