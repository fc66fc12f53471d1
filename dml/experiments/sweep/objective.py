"""The objective of a sweep, and the complete recipe behind the words that all its trials share."""

import io
import math
import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from typing import Any, final

from dml import runs
from dml.errors import UserError
from dml.experiments.jobs import FrontDoor
from dml.experiments.sweep.search import Mode
from dml.experiments.sweep.space import Dimension, number_text
from dml.experiments.sweep.trials import Outcome

Recipe = dict[str, Any]


@final
@dataclass(frozen=True)
class Objective:
    """The score a sweep is judged by, as `section/name`, and whether more or less of it is better."""

    score: str
    mode: Mode


def complete_recipe(front_door: FrontDoor, words: Sequence[str]) -> Recipe:
    """Return the complete recipe that `dml fit` makes from these words, without training.

    Raises:
        UserError: A key is unknown or a value has the wrong type.
    """
    text = io.StringIO()
    try:
        with redirect_stdout(text):
            front_door(["--debug", "fit", *words, "--print_config"])  # --debug: errors are raised
    except SystemExit as stop:
        if stop.code:
            raise UserError(f"dml fit {' '.join(words)}: cannot be read as a recipe") from stop
    printed = text.getvalue()
    start = re.search(r"^(#.*\n)*seed_everything:", printed, re.MULTILINE)  # what modules print on import stands before
    recipe: Recipe = runs.parse_yaml(printed[start.start() if start else 0 :], "the printed recipe")
    return recipe


def check_space(front_door: FrontDoor, recipe: Sequence[str], space: Sequence[Dimension]) -> None:
    """Refuse a key that is not in the recipe and a value of the wrong type before anything is trained.

    Raises:
        UserError: The message `dml fit` would give.
    """
    for dimension in space:
        others = {other.key: _examples(other)[0] for other in space}
        for value in _examples(dimension):
            values = others | {dimension.key: value}
            complete_recipe(front_door, [*recipe, *(f"--{key}={text}" for key, text in values.items())])


def _examples(dimension: Dimension) -> Sequence[str]:
    """Return sample values; one with a fraction, if there is one, which a key of type int refuses."""
    low, high = dimension.low, dimension.high
    middle = low + (high - low) / math.pi
    return dimension.choices or [number_text(value, dimension.whole) for value in (low, middle, high)]


def default_objective(recipe: Recipe, score: str | None, mode: Mode | None) -> Objective:
    """Return the given score, else the one the recipe's best checkpoint is chosen by, else its module's default.

    Raises:
        UserError: The score has no section.
    """
    module_path, _, name = str(recipe["model"]["class_path"]).rpartition(".")
    module = getattr(import_module(module_path), name)
    named = recipe.get("checkpoint", {})
    monitor = named.get("monitor") if named.get("monitor") not in {None, "none"} else module.monitor
    chosen = score or monitor
    if not re.fullmatch(r"(val|train)/\w+", chosen):
        raise UserError(f"score {chosen!r}: give one that a trial writes, e.g. val/knn_accuracy or train/knn_accuracy")
    if mode is None:
        mode = named.get("mode") or module.monitor_mode if chosen == monitor else guess_mode(chosen)
    return Objective(chosen, mode)


def guess_mode(score: str) -> Mode:
    """Guess from a score's name whether higher is better.

    Example:
        >>> guess_mode("val/loss"), guess_mode("val/map_at_r")
        ('min', 'max')
    """
    return "min" if runs.lower_is_better(score) else "max"


def check_score(outcome: Outcome, score: str) -> None:
    """Refuse a score that a finished trial does not have.

    Raises:
        UserError: It names the scores there are.
    """
    if outcome.status == "done" and score not in outcome.scores:
        raise UserError(f"no score {score!r} in the trials: choose one of {', '.join(sorted(outcome.scores))}")
