"""Runs what is left of a sweep, alone or as one of several workers."""

import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from dml import runs
from dml.experiments.jobs import RunApart, Start
from dml.experiments.sweep.claims import Claim, Claims
from dml.experiments.sweep.objective import check_score
from dml.experiments.sweep.pruning import Report
from dml.experiments.sweep.records import Sweep
from dml.experiments.sweep.settings import SweepSettings
from dml.experiments.sweep.trials import Outcome, RecipeFiles, run_trial


def run_sweep(sweep: Sweep, settings: SweepSettings, start: Start, slots: int, tell: Callable[[Outcome], None]) -> int:
    """Run what is left of a sweep, recording each trial as it ends; return how many other workers still run.

    Args:
        sweep: The folder and its study.
        settings: What is to be run.
        start: Runs `dml` with given words.
        slots: How many trials run at once; 1 runs them one after another in this thread.
        tell: Called with each outcome, in this thread.

    Raises:
        UserError: A trial ended without the objective's score, the recipe's file was changed, the storage cannot be
            reached any more, or another process runs this sweep, which is not shared.
        KeyboardInterrupt: Ctrl-C; the same call goes on with what is left.
    """
    for outcome in sweep.outcomes:
        check_score(outcome, settings.objective.score)
    worker = _Worker(sweep, settings, start)
    with ExitStack() as stack:
        if not sweep.shared:
            stack.enter_context(runs.held(sweep.folder))
        worker.claims.begin()
        if slots == 1:
            for outcome in iter(worker.run_next, None):
                tell(outcome)
                check_score(outcome, settings.objective.score)
        else:
            _run_at_once(worker, settings, slots, tell)
        return worker.claims.elsewhere()


class _Worker:
    """Claims, runs and records one trial after another."""

    def __init__(self, sweep: Sweep, settings: SweepSettings, start: Start) -> None:
        self.claims = Claims(sweep, settings)
        self.start = start
        self._sweep, self._settings = sweep, settings
        self._files = RecipeFiles(settings.recipe)

    def run_next(self) -> Outcome | None:
        """Return the outcome of the next trial, None if none is left."""
        self._files.check()
        claim = self.claims.claim()
        if claim is None:
            return None
        try:
            outcome = run_trial(self._sweep.folder, self._settings.recipe, claim.trial, self.start, self._report(claim))
            self._files.check()  # what was trained while the file changed is not known: it is not recorded
        except BaseException:
            self.claims.let_go(claim)
            raise
        self.claims.record(claim, outcome)
        return outcome

    def _report(self, claim: Claim) -> Report | None:
        pruning, objective = self._settings.pruning, self._settings.objective
        if pruning is None:
            return None
        place = self._sweep.storage, self._sweep.folder.name, claim.number
        return Report(*place, objective.score, objective.mode, pruning.first, pruning.factor)


def _run_at_once(worker: _Worker, settings: SweepSettings, slots: int, tell: Callable[[Outcome], None]) -> None:
    """Run in several threads, whose trials are processes of their own."""
    ended: queue.Queue[Outcome | BaseException | None] = queue.Queue()

    def work() -> None:
        try:
            for outcome in iter(worker.run_next, None):
                ended.put(outcome)
        except BaseException as error:
            ended.put(error)
        else:
            ended.put(None)

    with ThreadPoolExecutor(slots) as pool:
        for _ in range(slots):
            pool.submit(work)
        try:
            working = slots
            while working:
                outcome = ended.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                if outcome is None:
                    working -= 1
                    continue
                tell(outcome)
                check_score(outcome, settings.objective.score)
        except BaseException:  # Ctrl-C, a mistake, or the reader of the outcomes stopped
            if isinstance(worker.start, RunApart):
                worker.start.interrupt()
            raise
