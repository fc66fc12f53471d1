"""Sweeps keys of a recipe: which trials are left, their records, the result; training is the front door's business."""

import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, final

import yaml

from dml import runs
from dml.errors import UserError
from dml.experiments.search import Configuration, Mode, Search
from dml.experiments.space import Dimension
from dml.experiments.trials import FrontDoor, Outcome, Start, Trial, run_trials

SWEEP = "sweep.json"
Recipe = dict[str, Any]


@final
@dataclass(frozen=True)
class Goal:
    """The score a sweep is judged by, as `section/name`, and whether more or less of it is better."""

    score: str
    mode: Mode


def complete_recipe(front_door: FrontDoor, words: Sequence[str]) -> Recipe:
    """Return the complete recipe that `dml fit` makes of these words, without training.

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
    recipe: Recipe = yaml.safe_load(text.getvalue())
    return recipe


def check_space(front_door: FrontDoor, recipe: Sequence[str], space: Sequence[Dimension]) -> None:
    """Refuse a key that is not in the recipe and a value of the wrong type before anything is trained.

    Raises:
        UserError: The front door's own line.
    """
    for dimension in space:
        ends = [f"{dimension.low:g}", f"{dimension.high:g}"] if not dimension.choices else dimension.choices
        others = {other.key: (other.choices or [f"{other.low:g}"])[0] for other in space}
        for value in ends:
            values = others | {dimension.key: value}
            complete_recipe(front_door, [*recipe, *(f"--{key}={text}" for key, text in values.items())])


def default_goal(recipe: Recipe, score: str | None, mode: Mode | None) -> Goal:
    """Return the goal: what is given, else what the recipe's best checkpoint is chosen by, else its module's choice.

    Raises:
        UserError: A score is given whose mode nobody knows, or that has no section.
    """
    module_path, _, name = str(recipe["model"]["class_path"]).rpartition(".")
    module = getattr(import_module(module_path), name)
    named = recipe.get("checkpoint", {})
    monitor = named.get("monitor") if named.get("monitor") not in {None, "none"} else module.monitor
    chosen = score or monitor
    if not re.fullmatch(r"(val|train)/\w+", chosen):
        raise UserError(f"--score {chosen}: give one that a trial writes, e.g. val/knn_accuracy or train/knn_accuracy")
    if mode is None:
        mode = named.get("mode") or module.monitor_mode if chosen == monitor else guess_mode(chosen)
    return Goal(chosen, mode)


def guess_mode(score: str) -> Mode:
    """Return whether more of a score is better, by its name.

    Example:
        >>> guess_mode("val/loss"), guess_mode("val/map_at_r")
        ('min', 'max')
    """
    return "min" if re.search(r"loss|error|mse|mae|spread", score) else "max"


@final
class Sweep:
    """A sweep's folder: its recipe, the configurations it has tried, and what became of them.

    Args:
        folder: `runs/NAME`; it need not exist yet, and nothing is written before the first trial has ended.
        recipe: The complete recipe that all trials share.
        keys: The swept keys.

    Raises:
        UserError: The folder holds another sweep, a run, or anything else.
    """

    def __init__(self, folder: Path, recipe: Recipe, keys: Sequence[str]) -> None:
        self.folder = folder
        self.keys = list(keys)
        self.configurations: list[Configuration] = []
        self.outcomes: list[Outcome] = []
        self._recipe = {key: value for key, value in recipe.items() if key != "seed_everything"}
        if (folder / SWEEP).exists():
            self._take_up(runs.read_json(folder / SWEEP))
        elif folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder} exists and is no sweep: choose another --name")

    def trial(self, values: Configuration, seed: int) -> Trial:
        """Return the trial of a configuration and a seed; its name holds a digest of the exact configuration."""
        exact = json.dumps([self._recipe, values, seed], sort_keys=True)
        digest = hashlib.sha256(exact.encode()).hexdigest()[:8]
        words = [f"{key.rpartition('.')[2]}={value}" for key, value in values.items()]
        name = re.sub(r"[^\w.=+-]+", "-", "_".join([*words, f"seed={seed}"]))
        return Trial(values, seed, f"{name[:80]}_{digest}")

    def left(self, seeds: Sequence[int], configurations: Iterable[Configuration]) -> list[Trial]:
        """Return the trials that have not ended yet."""
        ended = {outcome.run for outcome in self.outcomes}
        trials = [self.trial(values, seed) for values in configurations for seed in seeds]
        return [trial for trial in trials if trial.name not in ended]

    def forget_failed(self) -> None:
        """Drop the failed trials' records, so that they run again from their start."""
        for outcome in self.outcomes:
            if outcome.status == "failed":
                shutil.rmtree(self.folder / outcome.run, ignore_errors=True)
        self.outcomes = [outcome for outcome in self.outcomes if outcome.status == "done"]

    def plan(self, configurations: Iterable[Configuration]) -> None:
        """Keep configurations that are about to be tried: a proposal is not made twice."""
        self.configurations += [values for values in configurations if values not in self.configurations]

    def record(self, outcome: Outcome) -> None:
        """Keep what became of a trial, on disk at once."""
        self.outcomes.append(outcome)
        self.write()

    def write(self) -> None:
        """Write `sweep.json`."""
        content = {
            "recipe": self._recipe,
            "keys": self.keys,
            "configurations": self.configurations,
            "trials": [outcome.as_dict() for outcome in self.outcomes],
        }
        runs.write_json(self.folder / SWEEP, content)

    def scores(self, values: Configuration, score: str) -> list[float]:
        """Return a configuration's score under each seed that came to an end, by seed."""
        found = [o for o in self.outcomes if o.values == values and o.status == "done" and score in o.scores]
        return [outcome.scores[score] for outcome in sorted(found, key=lambda outcome: outcome.seed)]

    def _take_up(self, known: dict[str, Any]) -> None:
        if known["keys"] != self.keys:
            raise UserError(f"{self.folder} is a sweep over {', '.join(known['keys'])}: choose another --name")
        if differing := _difference(known["recipe"], json.loads(json.dumps(self._recipe))):
            raise UserError(f"{self.folder} is a sweep of another recipe ({differing}): choose another --name")
        self.configurations = known["configurations"]
        self.outcomes = [Outcome(**trial) for trial in known["trials"]]


def run_sweep(
    sweep: Sweep,
    recipe: Sequence[str],
    seeds: Sequence[int],
    search: Search | Sequence[Configuration],
    count: int,
    goal: Goal,
    start: Start,
    slots: int,
    tell: Callable[[Outcome], None],
) -> None:
    """Run what is left of a sweep, recording each trial as it ends.

    Args:
        sweep: The folder and its records.
        recipe: `--config FILE` and `--KEY VALUE` that all trials share.
        seeds: Each configuration is run under each.
        search: All configurations, or what proposes them.
        count: How many configurations a search tries, those of earlier starts included.
        goal: What a search learns from.
        start: Runs `dml` with given words.
        slots: How many trials run at once.
        tell: Called with each outcome.

    Raises:
        UserError: A trial ended without the goal's score.
        KeyboardInterrupt: Ctrl-C; the same call goes on with what is left.
    """

    def work(configurations: Sequence[Configuration]) -> None:
        sweep.plan(configurations)
        for outcome in run_trials(sweep.folder, recipe, sweep.left(seeds, configurations), start, slots):
            sweep.record(outcome)
            tell(outcome)
            check_score(outcome, goal.score)

    for outcome in sweep.outcomes:
        check_score(outcome, goal.score)
    if not isinstance(search, Search):
        work(search)
        return
    known = list(sweep.configurations)
    work(known)
    for values in known:
        search.learn(values, mean_or_none(sweep.scores(values, goal.score)))
    for batch in _batches(sweep, search, count, goal, slots):
        work(batch)
        for values in batch:
            search.learn(values, mean_or_none(sweep.scores(values, goal.score)))


def _batches(sweep: Sweep, search: Search, count: int, goal: Goal, slots: int) -> Iterable[list[Configuration]]:
    """Yield new configurations, as many at a time as run at once; a small space may hold fewer than asked for."""
    for _ in range(20 * count):
        missing = count - len(sweep.configurations)
        if missing <= 0:
            return
        batch: list[Configuration] = []
        for _ in range(min(slots, missing)):
            values = search.propose()
            if values in sweep.configurations or values in batch:
                search.learn(values, mean_or_none(sweep.scores(values, goal.score)))
            else:
                batch.append(values)
        if batch:
            yield batch


def check_score(outcome: Outcome, score: str) -> None:
    """Refuse a goal that a finished trial has no score of.

    Raises:
        UserError: It names the scores there are.
    """
    if outcome.status == "done" and score not in outcome.scores:
        raise UserError(f"no score {score!r} in the trials: give --score one of {', '.join(sorted(outcome.scores))}")


def mean_or_none(values: Sequence[float]) -> float | None:
    """Return the mean, None of nothing.

    Example:
        >>> mean_or_none([0.5, 0.7]), mean_or_none([])
        (0.6, None)
    """
    return sum(values) / len(values) if values else None


def _difference(known: Any, given: Any, path: str = "") -> str:
    """Return the first key two recipes differ in, with both values; empty where they are equal."""
    if isinstance(known, dict) and isinstance(given, dict):
        for key in sorted({*known, *given}):
            inner = f"{path}.{key}" if path else key
            if told := _difference(known.get(key), given.get(key), inner):
                return told
        return ""
    return "" if known == given else f"{path}: {known} there, {given} here"
