"""Gives each trial of a sweep to one of any number of workers, and records each once."""

import random
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import final

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from dml import runs
from dml.errors import UserError
from dml.experiments.sweep import study as studies
from dml.experiments.sweep.records import LOCKS, Sweep
from dml.experiments.sweep.search import Search
from dml.experiments.sweep.settings import SweepSettings
from dml.experiments.sweep.storage import reaching
from dml.experiments.sweep.trials import Outcome, Trial

_TURN = 120  # seconds that other workers may take to choose their trials
_CHOOSING = "choosing"


@final
@dataclass(frozen=True)
class Claim:
    """A trial that only this worker runs, until it lets go or dies: then the system releases the lock."""

    trial: Trial
    number: int
    hold: ExitStack


@final
class Claims:
    """Chooses what this process runs next; its threads and other workers ask in turn.

    Args:
        sweep: The folder and its study.
        settings: What is to be run.
    """

    def __init__(self, sweep: Sweep, settings: SweepSettings) -> None:
        self._sweep, self._settings = sweep, settings
        self._within = RLock()
        self._mine: set[int] = set()

    def begin(self) -> None:
        """Create the study if there is none."""
        self._sweep.folder.mkdir(parents=True, exist_ok=True)
        with self._choosing():
            self._sweep.begin(self._settings.objective)

    def claim(self) -> Claim | None:
        """Return the next trial: one whose worker died, else the next of the search; None if none is left.

        Raises:
            UserError: The storage cannot be reached any more.
        """
        while True:
            with self._choosing():
                trials = self._sweep.refresh()
                claim, waiting = self._take_over([trial for trial in trials if trial.state == TrialState.RUNNING])
                claim = claim or self._next(trials)
            if claim is not None or not waiting:
                return claim
            time.sleep(1)  # a killed worker's training goes on without it

    def record(self, claim: Claim, outcome: Outcome) -> None:
        """Record the outcome of a trial, in the storage at once, and let the trial go."""
        score = outcome.scores.get(self._settings.objective.score)
        state = studies.STATES[outcome.status]
        if score is None and state is not TrialState.PRUNED:
            state = TrialState.FAIL  # Optuna's word for a trial without the score, also where it ended well
        with self._within, reaching(self._sweep.storage):
            storage, identity = self._study._storage, self._identity(claim.number)
            if state is TrialState.PRUNED and (told := storage.get_trial(identity).intermediate_values):
                score = told[max(told)]
            try:
                storage.set_trial_user_attr(identity, studies.OUTCOME, outcome.as_dict())
                storage.set_trial_state_values(identity, state, None if score is None else [score])
            except UpdateFinishedTrialError:
                pass  # another worker took it for dead and was faster: it is recorded once
            self._sweep.refresh()
        self.let_go(claim)
        shutil.rmtree(self._lock(claim.number), ignore_errors=True)

    def let_go(self, claim: Claim) -> None:
        """Leave a trial for another worker to continue."""
        with self._within:
            self._mine.discard(claim.number)
            claim.hold.close()

    def elsewhere(self) -> int:
        """Return how many trials other workers are running."""
        with self._within, reaching(self._sweep.storage):
            return sum(trial.state == TrialState.RUNNING for trial in self._sweep.refresh()) - len(self._mine)

    @property
    def _study(self) -> optuna.Study:
        study = self._sweep.study
        assert study is not None, "begin() makes it"
        return study

    @contextmanager
    def _choosing(self) -> Iterator[None]:
        """Let one worker at a time look at the study and add to it."""
        with self._within, reaching(self._sweep.storage), ExitStack() as stack:
            until = time.monotonic() + _TURN
            while self._sweep.shared:
                try:
                    stack.enter_context(runs.held(self._sweep.folder / LOCKS / _CHOOSING))
                    break
                except UserError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(random.uniform(0.01, 0.05))
            yield

    def _take_over(self, running: list[FrozenTrial]) -> tuple[Claim | None, bool]:
        """Return a trial whose worker died, and whether another such trial is still training."""
        waiting = False
        for trial in running:
            claim = self._take(trial)
            if claim is None:
                continue
            if self._storage_state(trial.number) != TrialState.RUNNING:  # it was recorded while this one looked
                self.let_go(claim)
            elif _is_held(self._sweep.folder / claim.trial.name):
                self.let_go(claim)
                waiting = True
            else:
                return claim, False
        return None, waiting

    def _next(self, trials: list[FrozenTrial]) -> Claim | None:
        """Add the search's next trial to the study and claim it."""
        found = self._find_next(trials)
        if found is None:
            return None
        distributions = self._settings.distributions()
        studies.add_trial(self._study, distributions, found.values, found.seed, found.name)
        claim = self._take(self._study.get_trials(deepcopy=False)[-1])
        assert claim is not None, "nobody else chooses now"
        return claim

    def _find_next(self, trials: list[FrozenTrial]) -> Trial | None:
        settings, sweep = self._settings, self._sweep
        begun = {trial.user_attrs[studies.RUN] for trial in trials}
        known = sweep.configurations if isinstance(settings.search, Search) else settings.listed()
        for values in known:
            for seed in settings.seeds:
                if (trial := sweep.trial(values, seed)).name not in begun:
                    return trial
        if not isinstance(settings.search, Search) or len(known) >= settings.count:
            return None
        proposed = settings.search.propose(sweep.tried(trials, settings.objective))
        return None if proposed is None else sweep.trial(proposed, settings.seeds[0])

    def _take(self, trial: FrozenTrial) -> Claim | None:
        """Return a claim on a trial, None if a live worker has it."""
        if trial.number in self._mine:
            return None
        hold = ExitStack()
        if self._sweep.shared:
            try:
                hold.enter_context(runs.held(self._lock(trial.number)))
            except UserError:
                return None
        self._mine.add(trial.number)
        known = trial.user_attrs
        return Claim(Trial(known[studies.VALUES], known[studies.SEED], known[studies.RUN]), trial.number, hold)

    def _lock(self, number: int) -> Path:
        return self._sweep.folder / LOCKS / f"trial-{number}"

    def _identity(self, number: int) -> int:
        return self._study._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)

    def _storage_state(self, number: int) -> TrialState:
        return self._study._storage.get_trial(self._identity(number)).state


def _is_held(run: Path) -> bool:
    """Whether a run is being trained, by a process that outlives the worker that started it."""
    if not (run / runs.LOCK).exists():
        return False
    try:
        with runs.held(run):
            return False
    except UserError:
        return True
