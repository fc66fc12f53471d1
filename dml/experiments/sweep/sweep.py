"""Sweeps keys of a recipe: runs the trials that are left and records each as it ends."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from dml import runs
from dml.errors import UserError
from dml.experiments.jobs import Start
from dml.experiments.sweep.objective import Objective, Recipe, check_score
from dml.experiments.sweep.search import Configuration, Search
from dml.experiments.sweep.trials import Outcome, Trial, run_trials

SWEEP = "sweep.json"


@final
class Sweep:
    """A sweep's folder: its recipe, the configurations it has tried, and what became of them.

    Args:
        folder: `runs/NAME`; it need not exist yet, and nothing is written before the first trial starts.
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
        elif folder.exists() and any(path.name != ".lock" for path in folder.iterdir()):
            raise UserError(f"{folder} exists and is not a sweep: choose another folder")

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

    def add(self, configurations: Iterable[Configuration]) -> None:
        """Keep configurations that are about to be tried, on disk at once: a proposal is not made twice."""
        self.configurations += [values for values in configurations if values not in self.configurations]
        self.write()

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
            raise UserError(f"{self.folder} is a sweep over {', '.join(known['keys'])}: choose another folder")
        if differing := _difference(known["recipe"], json.loads(json.dumps(self._recipe))):
            if all(trial["status"] == "failed" for trial in known["trials"]):
                return  # nothing is lost: begin anew with the mended recipe
            raise UserError(f"{self.folder} is a sweep of another recipe ({differing}): choose another folder")
        self._recipe = known["recipe"]  # of which the names of trials are digests
        self.configurations = known["configurations"]
        self.outcomes = [Outcome(**trial) for trial in known["trials"]]


@final
@dataclass(frozen=True)
class SweepSettings:
    """What a sweep runs.

    Args:
        recipe: `--config FILE` and `--KEY VALUE` that all trials share.
        seeds: Each configuration is run under each.
        search: All configurations, or what proposes them.
        count: How many configurations are tried, those of earlier starts included.
        objective: What a search learns from.
    """

    recipe: Sequence[str]
    seeds: Sequence[int]
    search: Search | Sequence[Configuration]
    count: int
    objective: Objective


def run_sweep(sweep: Sweep, settings: SweepSettings, start: Start, slots: int, tell: Callable[[Outcome], None]) -> None:
    """Run what is left of a sweep, recording each trial as it ends.

    Args:
        sweep: The folder and its records.
        settings: What is to be run.
        start: Runs `dml` with given words.
        slots: How many trials run at once.
        tell: Called with each outcome.

    Raises:
        UserError: A trial ended without the objective's score, or another process runs this sweep.
        KeyboardInterrupt: Ctrl-C; the same call goes on with what is left.
    """
    for outcome in sweep.outcomes:
        check_score(outcome, settings.objective.score)
    with runs.held(sweep.folder):
        _run_batches(sweep, settings, start, slots, tell)


def _run_batches(
    sweep: Sweep, settings: SweepSettings, start: Start, slots: int, tell: Callable[[Outcome], None]
) -> None:
    for batch in _batches(sweep, settings, slots):
        sweep.add(batch)
        left = sweep.left(settings.seeds, batch)
        for outcome in run_trials(sweep.folder, settings.recipe, left, start, slots):
            sweep.record(outcome)
            tell(outcome)
            check_score(outcome, settings.objective.score)
        if isinstance(settings.search, Search):
            for values in batch:
                settings.search.learn(values, mean_or_none(sweep.scores(values, settings.objective.score)))


def _batches(sweep: Sweep, settings: SweepSettings, slots: int) -> Iterable[Sequence[Configuration]]:
    """Yield what is tried next: a grid whole; else what is known already, then as many proposals as run at once."""
    if not isinstance(settings.search, Search):
        yield settings.search
        return
    yield list(sweep.configurations)
    for _ in range(20 * settings.count):  # a small space may hold fewer configurations than asked for
        batch: list[Configuration] = []
        for _ in range(min(slots, settings.count - len(sweep.configurations))):
            values = settings.search.propose()
            if values in sweep.configurations or values in batch:
                settings.search.learn(values, mean_or_none(sweep.scores(values, settings.objective.score)))
            else:
                batch.append(values)
        if batch:
            yield batch


def mean_or_none(values: Sequence[float]) -> float | None:
    """Return the mean, None of nothing.

    Example:
        >>> mean_or_none([0.5, 0.7]), mean_or_none([])
        (0.6, None)
    """
    return sum(values) / len(values) if values else None


def _difference(known: Any, given: Any, path: str = "") -> str:
    """Return the first key two complete recipes differ in, with both values; empty where they are equal.

    A key that only one of them has came with another version of the code, whose default is what was done before; only
    arguments that are handed on unread (`dict_kwargs`) may be left out by a user.
    """
    if isinstance(known, dict) and isinstance(given, dict):
        both = {*known, *given} if path.endswith("dict_kwargs") else known.keys() & given.keys()
        for key in sorted(both):
            inner = f"{path}.{key}" if path else key
            if told := _difference(known.get(key), given.get(key), inner):
                return told
        return ""
    return "" if known == given else f"{path}: {known} there, {given} here"
