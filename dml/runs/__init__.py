"""The run folder: where its files are, and how they are written and read; no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dml.runs.arrays import open_archive, read_array, read_arrays, write_arrays
from dml.runs.files import open_file, read_bytes, read_json, write_bytes, write_json
from dml.runs.folder import (
    CHECKPOINTS,
    CONFIG,
    LOCK,
    PICTURES,
    PROTOCOL,
    check_name,
    classes_path,
    find_checkpoint,
    find_run,
    neighbors_path,
    new_run,
    queries_path,
)
from dml.runs.own import remember_trust, trust_own, user_cache
from dml.runs.places import TRAINED_IN, with_places, working_directory
from dml.runs.readings import READINGS, read_readings, readings_of, record_reading
from dml.runs.score_names import describe_score, lower_is_better, score_names
from dml.runs.scores import SCORES, baseline_label, read_scores, write_scores
from dml.runs.shipped import recipe_file, shipped_recipes
from dml.runs.trust import check_classes, guarded_imports, refused_import, trusted_modules, trusting

if TYPE_CHECKING:
    from dml.runs.hold import (
        begun_run,
        clear_run,
        has_checkpoint,
        held,
        held_run,
        is_first_process,
        kept_if_checkpointed,
    )
    from dml.runs.recipes import parse_yaml, read_recipe, read_recipe_file, read_yaml, recipe_argument, recipe_text
    from dml.runs.scoring_recipe import from_checkpoint, read_to_score, to_score

__all__ = [
    "CHECKPOINTS",
    "CONFIG",
    "LOCK",
    "PICTURES",
    "PROTOCOL",
    "READINGS",
    "SCORES",
    "TRAINED_IN",
    "baseline_label",
    "begun_run",
    "check_classes",
    "check_name",
    "classes_path",
    "clear_run",
    "describe_score",
    "find_checkpoint",
    "find_run",
    "from_checkpoint",
    "guarded_imports",
    "has_checkpoint",
    "held",
    "held_run",
    "is_first_process",
    "kept_if_checkpointed",
    "lower_is_better",
    "neighbors_path",
    "new_run",
    "open_archive",
    "open_file",
    "parse_yaml",
    "queries_path",
    "read_array",
    "read_arrays",
    "read_bytes",
    "read_json",
    "read_readings",
    "read_recipe",
    "read_recipe_file",
    "read_scores",
    "read_to_score",
    "read_yaml",
    "readings_of",
    "recipe_argument",
    "recipe_file",
    "recipe_text",
    "record_reading",
    "refused_import",
    "remember_trust",
    "score_names",
    "shipped_recipes",
    "to_score",
    "trust_own",
    "trusted_modules",
    "trusting",
    "user_cache",
    "with_places",
    "working_directory",
    "write_arrays",
    "write_bytes",
    "write_json",
    "write_scores",
]

_LATE = ("hold", "recipes", "scoring_recipe")  # need filelock and PyYAML, which a search in an exported folder lacks


def __getattr__(name: str) -> Any:
    if name == "merge_scores":
        raise ImportError("dml.runs.merge_scores is now dml.runs.write_scores")
    for module in _LATE if name in __all__ else ():
        found = import_module(f"dml.runs.{module}")
        if hasattr(found, name):
            globals()[name] = getattr(found, name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
