"""The run folder: where its files lie, and how they are written and read; no torch."""

from dml.runs.files import read_arrays, read_json, write_arrays, write_bytes, write_json
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
from dml.runs.scores import SCORES, write_scores

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
    "queries_path",
    "read_arrays",
    "read_json",
    "write_arrays",
    "write_bytes",
    "write_json",
    "write_scores",
]
