"""Guesses the source from what a path looks like; reads only names."""

import os
import zipfile
from pathlib import Path

from dml.data.catalog import Source
from dml.data.sources.arrays import ArrayFile
from dml.data.sources.digits import Digits
from dml.data.sources.folder import ImageFolder
from dml.data.sources.lance import Lance, is_address
from dml.data.sources.manifest import Manifest
from dml.errors import UserError


def source_of_root(root: str, option: str = "data.root") -> Source:
    """Choose the source that reads `root`.

    A folder or a `.zip` is read as class folders, a `.csv` or `.parquet` as a manifest, an `.npz` as arrays, a `.lance`
    folder or an address (`s3://…`) as a table of images. Anything else, and whatever else a folder may mean (a
    benchmark's own layout, say), is named by `data.source`.

    Args:
        root: path given by the user.
        option: what it was given in, for the message if there is no such place.

    Raises:
        UserError: root does not exist or is of a kind that no source reads.

    Example:
        >>> source_of_root("no/such/place")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no folder or file 'no/such/place': give an existing one in data.root
    """
    path = Path(root).expanduser()
    if is_address(root):
        return Lance(root)
    if not os.path.exists(path):  # noqa: PTH110 - also for names that no system takes
        raise UserError(f"no folder or file '{root}': give an existing one in {option}")
    suffix = path.suffix.lower()
    if suffix in (".csv", ".parquet"):
        return Manifest(root)
    if suffix == ".npz":
        return ArrayFile(root)
    if suffix == ".lance" and path.is_dir():
        return Lance(root)
    if path.is_dir() or (path.is_file() and zipfile.is_zipfile(path)):  # a pipe would wait
        return ImageFolder(root)
    raise UserError(f"'{root}' is neither a folder nor a .zip, .csv, .parquet or .npz file: give one of these")


def choose_source(root: str | None, source: Source | None) -> Source:
    """Choose between a path and a source; neither means the digits that ship with scikit-learn.

    Raises:
        UserError: both are given, or no source reads root.

    Example:
        >>> type(choose_source(None, None)).__name__
        'Digits'
    """
    if source is not None and root is not None:
        raise UserError("both data.root and data.source are set: give one of them (a source has its own root)")
    if source is not None:
        return source
    return Digits() if root is None else source_of_root(root)
