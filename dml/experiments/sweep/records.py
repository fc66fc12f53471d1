"""A sweep's folder and its study: the recipe, the configurations that were tried, and their outcomes."""

import hashlib
import json
import re
import shutil
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import final

import optuna
from optuna.trial import FrozenTrial, TrialState

from dml import runs
from dml.errors import UserError
from dml.experiments.sweep import study as studies
from dml.experiments.sweep.objective import Objective, Recipe
from dml.experiments.sweep.search import Configuration, Tried, distributions_of
from dml.experiments.sweep.trials import Outcome, Trial

LOCKS = ".locks"


@final
class Sweep:
    """A sweep's folder and its study, as they were when last read.

    Args:
        folder: `runs/NAME`; it need not exist yet, and nothing is written before the first trial starts.
        recipe: The complete recipe that all trials share.
        keys: The swept keys.
        storage: Where several workers share the study; None: in the folder, for one process at a time.

    Raises:
        UserError: The folder holds another sweep, a run, or anything else; the storage cannot be reached.
    """

    def __init__(self, folder: Path, recipe: Recipe, keys: Sequence[str], storage: str | None = None) -> None:
        self.folder = folder
        self.keys = list(keys)
        self.shared = storage is not None
        self.storage = studies.address_of(folder, storage)
        self.configurations: list[Configuration] = []
        self.outcomes: list[Outcome] = []
        self.study: optuna.Study | None = None
        self._recipe = {key: value for key, value in recipe.items() if key != "seed_everything"}
        self._forgotten = 0  # trials before this number that failed are run again
        self._old: list[Outcome] = []
        self._mended = False
        inside = {path.name for path in folder.iterdir()} if folder.exists() else set()
        mark = studies.read_mark(folder)  # after the look: another worker may begin now, and writes it first
        if mark is None and studies.OLD in inside:
            self._read_old()
        elif mark is None and not all(name in {".lock", LOCKS} or studies.is_unfinished_mark(name) for name in inside):
            raise UserError(f"{folder} exists and is not a sweep: choose another folder")
        self._find(mark)

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
        """Make the trials that failed so far run again from the start."""
        for outcome in self.outcomes:
            if outcome.status == "failed":
                shutil.rmtree(self.folder / outcome.run, ignore_errors=True)
        self._forgotten = 0 if self.study is None else len(self.study.get_trials(deepcopy=False))
        self._old = [outcome for outcome in self._old if outcome.status != "failed"]
        self.outcomes = [outcome for outcome in self.outcomes if outcome.status != "failed"]

    def begin(self, objective: Objective) -> optuna.Study:
        """Return the study, created if there is none, with what an earlier version of the code recorded.

        Of several workers, one at a time calls this.
        """
        if self.study is None:  # another worker may have begun since this one looked
            self._find(studies.read_mark(self.folder))
        if self._mended:
            studies.forget_study(self.folder, self.storage)
            self.study, self._mended = None, False
        if self.study is None:
            content = {studies.RECIPE: self._recipe, studies.KEYS: self.keys}
            self.study = studies.create_study(self.folder, self.storage, objective.mode, content)
            distributions = distributions_of([outcome.values for outcome in self._old])
            for old in self._old:
                score = old.scores.get(objective.score)
                studies.add_trial(self.study, distributions, old.values, old.seed, old.run, old, score)
            self.refresh()
        return self.study

    def refresh(self) -> list[FrozenTrial]:
        """Read what all workers have recorded; return the study's trials, only the latest of those run again."""
        trials = [] if self.study is None else self.study.get_trials(deepcopy=False)
        failed = {studies.STATES["failed"]}
        latest: dict[str, FrozenTrial] = {}
        for trial in trials:
            if trial.number < self._forgotten and trial.state in failed and not _ended_well(trial):
                continue
            latest[trial.user_attrs[studies.RUN]] = trial
        seen = {json.dumps(trial.user_attrs[studies.VALUES]): trial.user_attrs[studies.VALUES] for trial in trials}
        self.configurations = list(seen.values())
        self.outcomes = [outcome for trial in latest.values() if (outcome := studies.outcome_of(trial)) is not None]
        return list(latest.values())

    def scores(self, values: Configuration, score: str) -> list[float]:
        """Return a configuration's score under each seed that came to an end, by seed."""
        found = [o for o in self.outcomes if o.values == values and o.status == "done" and score in o.scores]
        return [outcome.scores[score] for outcome in sorted(found, key=lambda outcome: outcome.seed)]

    def tried(self, trials: Sequence[FrozenTrial], objective: Objective) -> list[Tried]:
        """Return every configuration with its state and mean score, for a search to learn from.

        Args:
            trials: What `refresh` gave.
            objective: The score.
        """
        found = []
        for values in self.configurations:
            own = [trial for trial in trials if trial.user_attrs[studies.VALUES] == values]
            scores = self.scores(values, objective.score)
            epochs = next((t.intermediate_values for t in own if t.state == TrialState.PRUNED), {})
            if scores:
                found.append(Tried(values, TrialState.COMPLETE, statistics.mean(scores)))
            elif any(trial.state == TrialState.RUNNING for trial in own):
                found.append(Tried(values, TrialState.RUNNING))
            elif epochs:
                found.append(Tried(values, TrialState.PRUNED, epochs[max(epochs)], epochs))
            else:
                found.append(Tried(values, TrialState.FAIL))
        return found

    def _find(self, mark: studies.Mark | None) -> None:
        """Load what the folder's study holds, if it has one."""
        self.study = studies.find_study(self.folder, self.storage, mark)
        if self.study is None:
            return
        known = self.study.user_attrs
        self.refresh()
        nothing_lost = all(outcome.status == "failed" for outcome in self.outcomes) and not self._runs()
        self._mended = studies.check_same(self.folder, self.keys, self._recipe, known, nothing_lost)
        if self._mended:
            self.configurations, self.outcomes = [], []
        else:
            self._recipe = known[studies.RECIPE]  # of which the names of trials are digests

    def _runs(self) -> bool:
        return any(trial.state == TrialState.RUNNING for trial in self.refresh())

    def _read_old(self) -> None:
        known = runs.read_json(self.folder / studies.OLD)
        outcomes = [Outcome(**trial) for trial in known["trials"]]
        nothing_lost = all(outcome.status == "failed" for outcome in outcomes)
        if studies.check_same(self.folder, self.keys, self._recipe, known, nothing_lost):
            return
        self._recipe = known[studies.RECIPE]
        self._old = self.outcomes = outcomes
        self.configurations = known["configurations"]


def _ended_well(trial: FrozenTrial) -> bool:
    outcome = studies.outcome_of(trial)
    return outcome is not None and outcome.status != "failed"
