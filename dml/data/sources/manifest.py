"""A table of images, CSV or Parquet: path, label, and whatever else is known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dml.data.catalog import Catalog, Part, index_labels
from dml.data.sources.bounds import check_inside
from dml.data.sources.files import FileSource, Folder, FoundFiles
from dml.data.sources.table import Columns, read_table
from dml.errors import UserError

PARTS: dict[str, Part] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "": ""}
TRUE, FALSE = {"1", "true", "yes"}, {"0", "false", "no", ""}


class Manifest(FileSource):
    """A CSV or Parquet table with one row per image.

    Columns `path` and `label` are needed; `split` (train, val, validation, test or empty), `is_query`, `is_reference`
    (true/false, yes/no, 1/0) and `group` are read where present, others are passed over. Labels are names: `7` and
    `07` are two classes. Class numbers follow the names in sorted order, whole numbers by their value.

    Args:
        root: the `.csv` (comma-separated, UTF-8, one header line; above a million lines read by pyarrow where that is
            installed) or `.parquet` file (needs pyarrow).
        folder: what paths are relative to; None: the folder of the table.
        anywhere: also read files outside that folder: absolute paths, `../`, links that lead out of it.

    Raises:
        UserError: no such table, a needed column is missing, an entry is empty or not understood, or one class only.
            A missing image file counts as an unreadable image.

    Example:
        >>> Manifest("no-such.csv").open()
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no table 'no-such.csv': give an existing .csv or .parquet file
    """

    def __init__(self, root: str, folder: str | None = None, anywhere: bool = False) -> None:
        self.root = root
        self.folder = folder
        self.anywhere = anywhere

    def find(self) -> FoundFiles:
        """Read the table and no image."""
        table = Path(self.root).expanduser()
        columns = read_table(table)
        tree = Folder(Path(self.folder).expanduser() if self.folder else table.parent)
        names = column(columns, "path", table)
        if not self.anywhere:
            told = f"move them there, or give --data.source dml.data.Manifest --data.source.root {self.root} "
            told += "--data.source.anywhere true in place of data.root"
            check_inside(tree.root, names, f"'{table}'", told)
        labels, class_names = index_labels(column(columns, "label", table))
        catalog = Catalog(
            labels=labels,
            class_names=class_names,
            names=names,
            reader=tree.reader(names),
            parts=read_parts(columns, table),
            groups=read_groups(columns),
            is_query=read_flags(columns, "is_query", table),
            is_reference=read_flags(columns, "is_reference", table),
        )
        return FoundFiles(catalog, tree, names)


def column(columns: Columns, key: str, table: Path) -> Sequence[str]:
    """Return a column that must be there and full."""
    if key not in columns:
        raise UserError(f"'{table}' has no column '{key}' (found: {', '.join(columns)}): rename or add it")
    values = columns[key]
    for line, value in enumerate(values, 2):
        if not value:
            raise UserError(f"'{table}' line {line}: '{key}' is empty: fill it in or remove the line")
        if "\0" in value:
            raise UserError(f"'{table}' line {line}: '{key}' holds a NUL byte: write the table again")
    return values


def read_parts(columns: Columns, table: Path) -> list[Part]:
    """Read the split column; [] where there is none."""
    parts: list[Part] = []
    for line, value in enumerate(columns.get("split", []), 2):
        if value.lower() not in PARTS:
            raise UserError(f"'{table}' line {line}: split '{value}' is not train, val or test: correct it")
        parts.append(PARTS[value.lower()])
    return parts


def read_groups(columns: Columns) -> NDArray[np.int64] | None:
    """Give each group a number; a row without one is a group of its own."""
    if "group" not in columns:
        return None
    keys = [value or f"\0{line}" for line, value in enumerate(columns["group"])]
    return np.unique(np.asarray(keys, dtype=object), return_inverse=True)[1].reshape(-1).astype(np.int64)


def read_flags(columns: Columns, key: str, table: Path) -> NDArray[np.bool_] | None:
    """Read a column of yes and no; None if there is none."""
    if key not in columns:
        return None
    for line, value in enumerate(columns[key], 2):
        if value.lower() not in TRUE | FALSE:
            raise UserError(f"'{table}' line {line}: {key} '{value}' is neither true nor false: correct it")
    return np.array([value.lower() in TRUE for value in columns[key]])
