"""The run folder: where its files lie, and how they are written and read; no torch."""

from typing import Any

from dml.runs.arrays import open_archive, read_array, read_arrays, write_arrays
from dml.runs.files import open_file, read_bytes, read_json, write_bytes, write_json
from dml.runs.folder import (
    CHECKPOINTS,
    CONFIG,
    LOCK,
    PICTURES,
    PROTOCOL,
    find_checkpoint,
    find_run,
    neighbors_path,
    new_run,
    queries_path,
)
from dml.runs.hold import begun_run, clear_run, has_checkpoint, held, held_run, is_first_process, kept_if_checkpointed
from dml.runs.recipes import read_recipe, recipe_argument
from dml.runs.scores import SCORES, read_scores, write_scores

__all__ = [
    "CHECKPOINTS",
    "CONFIG",
    "LOCK",
    "PICTURES",
    "PROTOCOL",
    "SCORES",
    "begun_run",
    "clear_run",
    "find_checkpoint",
    "find_run",
    "has_checkpoint",
    "held",
    "held_run",
    "is_first_process",
    "kept_if_checkpointed",
    "neighbors_path",
    "new_run",
    "open_archive",
    "open_file",
    "queries_path",
    "read_array",
    "read_arrays",
    "read_bytes",
    "read_json",
    "read_recipe",
    "read_scores",
    "recipe_argument",
    "write_arrays",
    "write_bytes",
    "write_json",
    "write_scores",
]


def __getattr__(name: str) -> Any:
    if name == "merge_scores":
        raise ImportError("dml.runs.merge_scores is now dml.runs.write_scores")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
