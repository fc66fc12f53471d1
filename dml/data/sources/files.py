"""Files below a root that is a folder or a zip: names, bytes, readers, content hashes."""

import hashlib
import logging
import os
import zipfile
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dml import runs
from dml.data.catalog import Catalog, Source
from dml.data.sources.bounds import MAX_IMAGE_BYTES, damage_told, leads_outside
from dml.data.sources.hashes import hash_files
from dml.data.sources.readers import BytesReader, FileReader, ZipReader
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
    def reader(self, names: Sequence[str]) -> BytesReader:
        """Make a reader of these images."""

    @abstractmethod
    def fingerprint(self, names: Sequence[str]) -> str:
        """Hash names and contents of these files; what cannot be read counts by its name."""

    def images(self) -> list[str]:
        """List all files that look like images, sorted."""
        return [name for name in self.names() if is_image_name(name)]


class FoundFiles(NamedTuple):
    """Image files as a source lists them.

    Attributes:
        catalog: without a fingerprint.
        tree: where the files are.
        files: (N,) their names in it.
    """

    catalog: Catalog
    tree: Tree
    files: Sequence[str]

    def with_fingerprint(self) -> Catalog:
        """Return the catalog with the hash of all files, of which those are read that are new or changed."""
        return replace(self.catalog, fingerprint=self.tree.fingerprint(self.files))


class FileSource(Source):
    """A source of files, which are listed first and read only to be hashed."""

    @abstractmethod
    def find(self) -> FoundFiles:
        """List the images and read none of them.

        Raises:
            UserError: nothing is there, or it does not look as this source expects.
        """

    def open(self) -> Catalog:
        """List the images, and hash their content."""
        return self.find().with_fingerprint()


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

    def reader(self, names: Sequence[str]) -> BytesReader:
        """Read by path."""
        return FileReader(self.root, names)

    def fingerprint(self, names: Sequence[str]) -> str:
        """Hash the bytes of all files; those with unchanged size and time are not read again."""
        return fold(names, hash_files(self.root, names, self.read))


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
            damage_told(f"zip '{root}'", "it is not a readable zip: give a folder or a complete .zip"),
            runs.open_file(root) as file,
            zipfile.ZipFile(file) as archive,
        ):
            self.checksums = {info.filename: f"{info.CRC} {info.file_size}" for info in archive.infolist()}
        outside = [name for name in self.checksums if leads_outside(name)]
        if outside and not anywhere:
            raise UserError(
                f"'{root}': {len(outside)} members have names that lead out of it, first '{outside[0]}': "
                "pack it again, or set data.source.anywhere to true, its path under data.source.root"
            )

    def names(self) -> list[str]:
        """List the members."""
        return sorted(name for name in self.checksums if not name.endswith("/"))

    def read(self, name: str) -> bytes:
        """Read a member."""
        return ZipReader(self.root, [name]).read(0)

    def reader(self, names: Sequence[str]) -> BytesReader:
        """Read by member name."""
        return ZipReader(self.root, names)

    def fingerprint(self, names: Sequence[str]) -> str:
        """Hash the checksums that the zip stores, without reading the members."""
        return fold(names, (self.checksums[name].encode() for name in names))


def fold(names: Iterable[str], digests: Iterable[bytes]) -> str:
    """Hash names with the hashes of their contents."""
    total = hashlib.blake2b(digest_size=16)
    for name, digest in zip(names, digests, strict=True):
        total.update(name.encode("utf-8", "surrogateescape") + b"\0" + digest + b"\n")
    return total.hexdigest()
