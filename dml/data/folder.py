"""A folder of class folders, plain or inside a zip. Knows names and labels; decodes nothing."""

import hashlib
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from dml.data.samples import FileReader, Samples, Source, ZipReader, index_labels
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


def walk_images(root: Path) -> Iterator[Path]:
    """List image files below a folder in sorted order, following links but never a loop of them."""
    stack: list[tuple[Path, frozenset[str]]] = [(root, frozenset())]
    while stack:
        folder, above = stack.pop()
        real = os.path.realpath(folder)
        if real in above:
            continue  # a link back to one of its own parents
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
        yield from (path for path in entries if is_image_name(path.name) and path.is_file())
        folders = [path for path in entries if path.is_dir() and not path.name.startswith(".")]
        stack.extend((path, above | {real}) for path in reversed(folders))


def hash_files(paths: list[Path], names: list[str]) -> str:
    """Hash names and contents of files; a file that cannot be read counts by its name."""

    def digest(path: Path) -> bytes:
        try:
            return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
        except OSError:
            return b"unreadable"

    total = hashlib.blake2b(digest_size=16)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for name, part in zip(names, pool.map(digest, paths), strict=True):
            total.update(name.encode("utf-8", "surrogateescape") + b"\0" + part)
    return total.hexdigest()


class ImageFolder(Source):
    """A folder with one folder per class, or a zip of it, which is read without unpacking.

    Images may lie deeper inside the class folders: the class is the name of the first folder below the root. A zip that
    holds a single folder around the class folders is entered. Links are followed, loops of links are not; hidden files
    and files without an image's suffix are passed over.

    Args:
        root: the folder, or a `.zip` of it.

    Raises:
        UserError: root is missing, holds no image in a class folder, or holds one class only.

    Example:
        >>> ImageFolder("no/such/place").open()
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no folder 'no/such/place': give an existing one, for example with --data.root
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def open(self) -> Samples:
        """List the images, in sorted order."""
        root = Path(self.root).expanduser()
        if not root.exists():
            raise UserError(f"no folder '{self.root}': give an existing one, for example with --data.root")
        return open_zip(root) if root.is_file() else open_folder(root)


def open_folder(root: Path) -> Samples:
    """List the class folders of `root`."""
    found = [(path, path.relative_to(root)) for path in walk_images(root)]
    found = [(path, name) for path, name in found if len(name.parts) > 1]
    if not found:
        raise UserError(f"no image in a class folder below '{root}': expected {root.name}/CLASS/IMAGE.jpg")
    names = [name.as_posix() for _, name in found]
    labels, class_names = index_labels([name.parts[0] for _, name in found])
    paths = [path for path, _ in found]
    return Samples(labels, class_names, names, FileReader(paths), fingerprint=hash_files(paths, names))


def open_zip(root: Path) -> Samples:
    """List the class folders inside a zip."""
    members = zip_images(root)
    parts = [PurePosixPath(name).parts for name in members]
    while parts and len({part[0] for part in parts}) == 1 and all(len(part) > 2 for part in parts):
        parts = [part[1:] for part in parts]
    kept = [(member, part) for member, part in zip(members, parts, strict=True) if len(part) > 1]
    if not kept:
        raise UserError(f"no image in a class folder inside '{root}': expected CLASS/IMAGE.jpg in the zip")
    labels, class_names = index_labels([part[0] for _, part in kept])
    members = [member for member, _ in kept]
    names = ["/".join(part) for _, part in kept]
    return Samples(labels, class_names, names, ZipReader(root, members), fingerprint=hash_zip(root, members))


def zip_images(root: Path) -> list[str]:
    """List the image members of a zip in sorted order."""
    try:
        with zipfile.ZipFile(root) as archive:
            return sorted(name for name in archive.namelist() if is_image_name(name))
    except zipfile.BadZipFile as error:
        raise UserError(f"'{root}' is no readable zip ({error}): give a folder, a .zip, a .csv or a .parquet") from None


def hash_zip(root: Path, members: list[str]) -> str:
    """Hash a zip by the checksums it stores for its members, without reading them."""
    total = hashlib.blake2b(digest_size=16)
    with zipfile.ZipFile(root) as archive:
        for member in members:
            info = archive.getinfo(member)
            total.update(f"{member}\0{info.CRC}\0{info.file_size}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()
