"""Keeps the scores of single queries beside `scores.json`, so that two runs can be compared query by query."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from dml.errors import UserError
from dml.evaluation.scores import QueryScores
from dml.runs import write_bytes

_FIELDS = ("labels", "ids", "num_lone_queries")


def record_path(run: Path, split: str) -> Path:
    """Return where a run keeps the scores of the queries of a split.

    Example:
        >>> record_path(Path("runs/first"), "val").as_posix()
        'runs/first/queries_val.npz'
    """
    return run / f"queries_{split}.npz"


def write_record(path: Path, table: QueryScores) -> None:
    """Write the scores of all queries as a NumPy archive, whole or not at all.

    Raises:
        UserError: The disk is full or the folder cannot be written.
    """
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {**table.scores, "labels": table.labels, "ids": table.ids}
    np.savez(buffer, num_lone_queries=table.num_lone_queries, **arrays)
    write_bytes(path, buffer.getvalue())


def read_record(path: Path) -> QueryScores:
    """Read what `write_record` wrote.

    Raises:
        UserError: There is no such file, or it holds something else.

    Example:
        >>> import tempfile
        >>> table = QueryScores({"map": np.array([0.5])}, np.array([3]), np.array([7]), 1)
        >>> file = Path(tempfile.mkdtemp()) / "queries_val.npz"
        >>> write_record(file, table)
        >>> read_record(file) == table
        True
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            scores = {name: archive[name] for name in archive.files if name not in _FIELDS}
            return QueryScores(scores, archive["labels"], archive["ids"], int(archive["num_lone_queries"]))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} holds no query scores: write it with `dml evaluate`") from error
