"""Lists the images of anything a user may point at, labelled or not, with a stamp that shows when one has changed."""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import final

from dml import runs
from dml.data.catalog import Reader
from dml.data.sources.bounds import check_inside, damage_told
from dml.data.sources.files import Folder, Tree, Zip, is_image_name
from dml.data.sources.folder import PARTS
from dml.data.sources.manifest import column
from dml.data.sources.table import read_table
from dml.errors import UserError

_TABLES, _LISTS = (".csv", ".parquet"), (".txt", ".lst")


@final
@dataclass(frozen=True)
class Listing:
    """Images below one root.

    Attributes:
        root: The folder or zip, as an absolute path.
        names: (N,) paths below it, with forward slashes, each once.
        labels: (N,) names of classes, "" if unknown.
        stamps: (N,) texts of which an image's changes with its file; "" where there is no such file.
        reader: Reads image i.
    """

    root: str
    names: list[str]
    labels: list[str]
    stamps: list[str]
    reader: Reader

    def __len__(self) -> int:
        return len(self.names)


def list_images(path: str, labelled: bool = True, anywhere: bool = False) -> Listing:
    """List the images of a folder, a zip, a table, a list of files, or one image.

    In a folder or zip, however deep, the class is the first folder below the root (below `train`, `val` and `test`
    where there are only these, and below a single folder that holds all others); images beside the folders have none.

    Args:
        path: A folder, a `.zip` of one, a `.csv` or `.parquet` with a column `path` and perhaps `label`, a `.txt` with
            a path on each line, or an image. Paths in files are relative to the file's folder.
        labelled: Whether folders and the column `label` name classes.
        anywhere: Also accept paths in tables, lists and zips that lead out of their folder.

    Raises:
        UserError: There is no such thing, it cannot be read, or holds no image.

    Example:
        >>> list_images("no/such/place")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no folder or file 'no/such/place': give images, a folder, a zip, a table or list
    """
    place = Path(path).expanduser()
    if not os.path.exists(place):  # noqa: PTH110 - also for names that no system takes
        raise UserError(f"no folder or file '{path}': give images, a folder, a zip, a table or list")
    suffix = place.suffix.lower()
    if place.is_dir():
        return _of_tree(Folder(place), labelled, path)
    if suffix in _TABLES:
        columns = read_table(place)
        labels = list(columns.get("label", [])) if labelled else []
        return _of_names(place, list(column(columns, "path", place)), labels, anywhere)
    if suffix in _LISTS:
        with damage_told(f"list '{path}'", "it is not text in UTF-8: save it as such"):
            lines = runs.read_bytes(place).decode("utf-8-sig").splitlines()
        return _of_names(place, [line.strip() for line in lines if line.strip()], [], anywhere)
    if is_image_name(place.name):
        return list_files([path])
    if place.is_file() and zipfile.is_zipfile(place):
        return _of_tree(Zip(place, anywhere), labelled, path)
    raise UserError(f"'{path}' is not an image, a folder, a zip, nor a .csv, .parquet or .txt that lists files")


def list_files(paths: list[str]) -> Listing:
    """List image files, which need not exist: that is reported when they are read.

    Args:
        paths: Of files; at least one.

    Example:
        >>> list_files(["photos/a.jpg", "photos/b/c.jpg"]).names
        ['a.jpg', 'b/c.jpg']
    """
    whole = [os.path.abspath(os.path.expanduser(path)) for path in paths]  # noqa: PTH100, PTH111 - links stay
    folders = {os.path.dirname(path) for path in whole}  # noqa: PTH120
    top = os.path.commonpath(folders) if len({os.path.splitdrive(folder)[0] for folder in folders}) == 1 else ""
    names = [Path(os.path.relpath(path, top)).as_posix() if top else Path(path).as_posix() for path in whole]
    return _listing(Folder(Path(top)), names, [])


def _of_names(table: Path, names: list[str], labels: list[str], anywhere: bool) -> Listing:
    if not names:
        raise UserError(f"'{table}' names no image: give one path on each line")
    tree = Folder(table.parent)
    if anywhere:
        found = list_files([str(tree.root / name) for name in names])
        return Listing(found.root, found.names, labels or found.labels, found.stamps, found.reader)
    check_inside(tree.root, names, f"'{table}'", "move them there, or add --anywhere")
    return _listing(tree, names, labels)


def _of_tree(tree: Tree, labelled: bool, path: str) -> Listing:
    names = tree.images()
    if not names:
        raise UserError(f"no image in '{path}': give a folder or zip that holds some")
    return _listing(tree, names, folder_labels(names) if labelled else [])


def folder_labels(names: list[str]) -> list[str]:
    """Return the class that folders name for each image, "" for an image outside of them.

    Example:
        >>> folder_labels(["all/iris/a.png", "all/iris/old/b.png", "all/rose/c.png"])
        ['iris', 'iris', 'rose']
        >>> folder_labels(["a.png", "iris/b.png"])
        ['', 'iris']
    """
    parts = [PurePosixPath(name).parts for name in names]
    while parts and len({part[0] for part in parts}) == 1 and all(len(part) > 2 for part in parts):
        parts = [part[1:] for part in parts]
    tops = {part[0].lower() for part in parts if len(part) > 1}
    depth = 1 if len(tops) > 1 and tops <= PARTS.keys() else 0
    return [part[depth] if len(part) > depth + 1 else "" for part in parts]


def _listing(tree: Tree, names: list[str], labels: list[str]) -> Listing:
    first = list(dict.fromkeys(names))
    if len(first) < len(names) and labels:
        label_of = dict(zip(reversed(names), reversed(labels), strict=True))  # of a repeated name, the first's
        labels = [label_of[name] for name in first]
    root = os.path.abspath(tree.root)  # noqa: PTH100 - links stay as they are
    return Listing(Path(root).as_posix(), first, labels or [""] * len(first), _stamps(tree, first), tree.reader(first))


def _stamps(tree: Tree, names: list[str]) -> list[str]:
    if isinstance(tree, Zip):
        return [tree.checksums[name] for name in names]
    stamps = []
    for name in names:
        try:
            found = os.stat(tree.root / name)  # noqa: PTH116 - many files
            stamps.append(f"{found.st_size} {found.st_mtime_ns}")
        except (OSError, ValueError):
            stamps.append("")
    return stamps
