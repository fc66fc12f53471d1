"""Reads a table, CSV or Parquet, as columns of text; large ones with pyarrow, which needs less memory."""

import csv
import importlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dml import runs
from dml.data.sources.bounds import damage_told
from dml.data.texts import Texts
from dml.errors import UserError

Columns = Mapping[str, Sequence[str]]
MANY = 1_000_000  # lines from which on pyarrow reads a CSV
_BLOCK = 2**24


def read_table(table: Path, many: int = MANY) -> Columns:
    """Read a CSV or Parquet table as columns of text; missing values are "".

    Args:
        table: the file.
        many: lines above which pyarrow reads a CSV, where it is installed.

    Raises:
        UserError: there is no such file, it is damaged, or has no rows.

    Example:
        >>> read_table(Path("no-such.csv"))
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no table 'no-such.csv': give an existing .csv or .parquet file
    """
    if not table.is_file():
        raise UserError(f"no table '{table}': give an existing .csv or .parquet file")
    if table.suffix.lower() == ".parquet":
        return _read_parquet(table)
    found = _read_large(table) if _count_lines(table) > many else None
    return _read_csv(table) if found is None else found


def _read_csv(table: Path) -> Columns:
    with damage_told(f"table '{table}'", "it is not a CSV in UTF-8: save it as one"):
        text = runs.read_bytes(table).decode("utf-8-sig")
        if "\0" in text:
            raise ValueError(f"a NUL byte in line {text[: text.index(chr(0))].count(chr(10)) + 1}")
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        head = [name.strip() for name in next(lines, [])]
        cells = [row for row in lines if row]
    _check_head(head, table)
    if wrong := [line for line, row in enumerate(cells, 2) if len(row) > len(head)]:
        raise UserError(
            f"'{table}' line {wrong[0]}: {len(cells[wrong[0] - 2])} cells for {len(head)} columns: put quotes around "
            "cells that hold commas"
        )
    _check_rows(len(cells), table)
    return {name: [row[at].strip() if at < len(row) else "" for row in cells] for at, name in enumerate(head)}


def _read_large(table: Path) -> Columns | None:
    """Read a CSV with pyarrow; None if that is not installed, or if the slow way would give a better message."""
    try:
        arrow: Any = importlib.import_module("pyarrow")
        compute: Any = importlib.import_module("pyarrow.compute")
        reader: Any = importlib.import_module("pyarrow.csv")
    except ModuleNotFoundError:
        return None
    with (
        damage_told(f"table '{table}'", "it is not a CSV in UTF-8: save it as one"),
        io.TextIOWrapper(runs.open_file(table), "utf-8-sig", newline="") as text,
    ):
        head = [name.strip() for name in next(csv.reader(text), [])]
    if len(set(head)) < len(head):
        return None
    try:
        held = reader.read_csv(
            table,
            read_options=reader.ReadOptions(column_names=head, skip_rows=1, block_size=_BLOCK),
            parse_options=reader.ParseOptions(newlines_in_values=True),
            convert_options=reader.ConvertOptions(
                column_types=dict.fromkeys(head, arrow.string()), strings_can_be_null=False
            ),
        )
    except arrow.ArrowInvalid:
        return None
    _check_rows(len(held), table)
    return {name: Texts(_whole(compute.utf8_trim_whitespace(held[name]))) for name in head}


def _read_parquet(table: Path) -> Columns:
    """Read a Parquet table; only this needs pyarrow."""
    try:
        compute: Any = importlib.import_module("pyarrow.compute")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise UserError(f"reading '{table}' needs pyarrow: pip install pyarrow, or save the table as .csv") from None
    with damage_told(f"table '{table}'", "it is not a complete Parquet file: write it again"):
        held = parquet.read_table(table)
        found: dict[str, Sequence[str]] = {}
        for name, column in zip(held.column_names, held.columns, strict=True):
            if str(column.type) in ("string", "large_string"):
                whole = _whole(compute.fill_null(column, ""))
                whole.validate(full=True)  # text may hold bytes that are none
                found[name] = Texts(whole)
            else:
                found[name] = ["" if value is None else str(value) for value in column.to_pylist()]
    if not len(held):
        raise UserError(f"'{table}' has no rows: expected columns path and label and one row per image")
    return found


def _whole(column: Any) -> Any:
    """Return a chunked column as one array; of more than 2 GiB of text as one with longer offsets."""
    large = importlib.import_module("pyarrow").large_string()
    return column.cast(large).combine_chunks() if column.nbytes >= 2**31 else column.combine_chunks()


def _count_lines(table: Path) -> int:
    with runs.open_file(table) as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))


def _check_head(head: list[str], table: Path) -> None:
    if twice := [name for name in head if name and head.count(name) > 1]:
        raise UserError(f"'{table}' has two columns '{twice[0]}': rename one")


def _check_rows(count: int, table: Path) -> None:
    if not count:
        raise UserError(f"'{table}' has no rows: expected a header line with path,label and one line per image")
