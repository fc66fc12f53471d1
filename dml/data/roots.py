"""Guesses the source from what a path looks like; reads nothing but its name and kind."""

from pathlib import Path

from dml.data.folder import ImageFolder
from dml.data.samples import Source
from dml.errors import UserError


def source_of_root(root: str) -> Source:
    """Choose the source that reads `root`.

    A folder or a `.zip` is read as class folders.

    Args:
        root: path given by the user.

    Raises:
        UserError: root does not exist or is of a kind nobody reads.

    Example:
        >>> source_of_root("no/such/place")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no folder or file 'no/such/place': give an existing one with --data.root
    """
    path = Path(root).expanduser()
    if not path.exists():
        raise UserError(f"no folder or file '{root}': give an existing one with --data.root")
    if path.is_dir() or path.suffix.lower() == ".zip":
        return ImageFolder(root)
    raise UserError(f"'{root}' is neither a folder nor a .zip, .csv or .parquet file: give one of these")
