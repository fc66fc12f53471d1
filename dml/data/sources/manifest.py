"""A table of images, CSV or Parquet: path, label, and what else is known."""

import csv
import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dml import runs
from dml.data.catalog import Catalog, Part, Source, index_labels
from dml.data.sources.bounds import check_inside, damage_told
from dml.data.sources.files import Folder
from dml.errors import UserError

PARTS: dict[str, Part] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "": ""}
TRUE, FALSE = {"1", "true", "yes"}, {"0", "false", "no", ""}
Rows = list[dict[str, str]]


class Manifest(Source):
    """A CSV or Parquet table with one row per image.

    Columns `path` and `label` are needed; `split` (train, val, validation, test or empty), `is_query`, `is_reference`
    (true/false, yes/no, 1/0) and `group` are read where present, others are passed over. Labels are names: `7` and
    `07` are two classes. Class numbers follow the names in sorted order, whole numbers by their value.

    Args:
        root: the `.csv` (comma-separated, UTF-8, one header line) or `.parquet` file (needs pyarrow).
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

    def open(self) -> Catalog:
        """Read the table; no image is touched but to hash its content."""
        table = Path(self.root).expanduser()
        rows = read_table(table)
        tree = Folder(Path(self.folder).expanduser() if self.folder else table.parent)
        names = column(rows, "path", table)
        if not self.anywhere:
            told = f"move them there, or give --data.source dml.data.Manifest --data.source.root {self.root} "
            told += "--data.source.anywhere true in place of data.root"
            check_inside(tree.root, names, f"'{table}'", told)
        labels, class_names = index_labels(column(rows, "label", table))
        return Catalog(
            labels=labels,
            class_names=class_names,
            names=names,
            reader=tree.reader(names),
            fingerprint=tree.fingerprint(names),
            parts=read_parts(rows, table),
            groups=read_groups(rows),
            is_query=read_flags(rows, "is_query", table),
            is_reference=read_flags(rows, "is_reference", table),
        )


def read_table(table: Path) -> Rows:
    """Read a CSV or Parquet table as rows of text."""
    if not table.is_file():
        raise UserError(f"no table '{table}': give an existing .csv or .parquet file")
    if table.suffix.lower() == ".parquet":
        return read_parquet(table)
    with damage_told(f"table '{table}'", "it is not a CSV in UTF-8: save it as one"):
        text = runs.read_bytes(table).decode("utf-8-sig")
        if "\0" in text:
            raise ValueError(f"a NUL byte in line {text[: text.index(chr(0))].count(chr(10)) + 1}")
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        head = [name.strip() for name in next(lines, [])]
        cells = [row for row in lines if row]
    if twice := [name for name in head if name and head.count(name) > 1]:
        raise UserError(f"'{table}' has two columns '{twice[0]}': rename one")
    if wrong := [line for line, row in enumerate(cells, 2) if len(row) > len(head)]:
        raise UserError(
            f"'{table}' line {wrong[0]}: {len(cells[wrong[0] - 2])} cells for {len(head)} columns: put quotes around "
            "cells that hold commas"
        )
    empty = [""] * len(head)
    rows = [dict(zip(head, map(str.strip, [*row, *empty[len(row) :]]), strict=True)) for row in cells]
    if not rows:
        raise UserError(f"'{table}' has no rows: expected a header line with path,label and one line per image")
    return rows


def read_parquet(table: Path) -> Rows:
    """Read a Parquet table as rows of text; pyarrow is asked for only here."""
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise UserError(f"reading '{table}' needs pyarrow: pip install pyarrow, or save the table as .csv") from None
    with damage_told(f"table '{table}'", "it is not a whole Parquet file: write it again"):
        held = parquet.read_table(table).to_pylist()
        found: Rows = [{key: "" if value is None else str(value) for key, value in row.items()} for row in held]
    if not found:
        raise UserError(f"'{table}' has no rows: expected columns path and label and one row per image")
    return found


def column(rows: Rows, key: str, table: Path) -> list[str]:
    """Read a column that must be there and full."""
    if key not in rows[0]:
        raise UserError(f"'{table}' has no column '{key}' (found: {', '.join(rows[0])}): rename or add it")
    values = [row[key] for row in rows]
    if "" in values:
        raise UserError(f"'{table}' line {values.index('') + 2}: '{key}' is empty: fill it in or remove the line")
    if spoilt := [line for line, value in enumerate(values, 2) if "\0" in value]:
        raise UserError(f"'{table}' line {spoilt[0]}: '{key}' holds a NUL byte: write the table again")
    return values


def read_parts(rows: Rows, table: Path) -> list[Part]:
    """Read the split column; [] where there is none."""
    if "split" not in rows[0]:
        return []
    for line, row in enumerate(rows, 2):
        if row["split"].lower() not in PARTS:
            raise UserError(f"'{table}' line {line}: split '{row['split']}' is none of train, val, test: correct it")
    return [PARTS[row["split"].lower()] for row in rows]


def read_groups(rows: Rows) -> NDArray[np.int64] | None:
    """Give groups numbers; a row without one is a group of its own."""
    if "group" not in rows[0]:
        return None
    keys = [row["group"] or f"\0{line}" for line, row in enumerate(rows)]
    return np.unique(np.asarray(keys, dtype=object), return_inverse=True)[1].reshape(-1).astype(np.int64)


def read_flags(rows: Rows, key: str, table: Path) -> NDArray[np.bool_] | None:
    """Read a column of yes and no; None where there is none."""
    if key not in rows[0]:
        return None
    for line, row in enumerate(rows, 2):
        if row[key].lower() not in TRUE | FALSE:
            raise UserError(f"'{table}' line {line}: {key} '{row[key]}' is neither true nor false: correct it")
    return np.array([row[key].lower() in TRUE for row in rows])
