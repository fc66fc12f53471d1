"""Runs the trials of a sweep as `dml fit`, several at once, and says what became of each."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, final

from dml import runs
from dml.experiments.jobs import JobError, RunApart, Start, run_fit

LOGS = "logs"


@final
@dataclass(frozen=True)
class Trial:
    """One configuration under one seed; `name` is its folder in the sweep's."""

    values: dict[str, str]
    seed: int
    name: str


@final
@dataclass(frozen=True)
class Outcome:
    """What became of a trial: its scores by `section/score`, or in one line why it failed."""

    values: dict[str, str]
    seed: int
    run: str
    status: Literal["done", "failed"]
    seconds: float
    reason: str = ""
    scores: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def run_trials(
    folder: Path, recipe: Sequence[str], trials: Iterable[Trial], start: Start, slots: int
) -> Iterator[Outcome]:
    """Yield the outcome of every trial as it ends, `slots` of them at a time.

    Args:
        folder: The sweep's folder, which holds the trials' runs.
        recipe: `--config FILE` and `--KEY VALUE` that all trials share.
        trials: What is to be run.
        start: Runs `dml` with these words and gives its exit code.
        slots: How many run at once; 1 runs them one after another in this thread.

    Raises:
        KeyboardInterrupt: Ctrl-C ended a trial; one that had begun goes on from its checkpoint another time.
    """
    if slots == 1:
        yield from (_run(folder, recipe, trial, start) for trial in trials)
        return
    with ThreadPoolExecutor(slots) as pool:
        futures = [pool.submit(_run, folder, recipe, trial, start) for trial in trials]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:  # Ctrl-C, or the reader of the outcomes stopped
            for future in futures:
                future.cancel()
            if isinstance(start, RunApart):
                start.interrupt()
            raise


def _run(folder: Path, recipe: Sequence[str], trial: Trial, start: Start) -> Outcome:
    keys = [*(f"--{key}={value}" for key, value in trial.values.items()), f"--seed_everything={trial.seed}"]
    log = folder / LOGS / f"{trial.name}.txt"
    began = perf_counter()
    reason, scores = "", {}
    try:
        run_fit(folder / trial.name, [*recipe, *keys], log, start)
        scores = _flat(runs.read_json(folder / trial.name / runs.SCORES))
    except JobError as error:
        reason = str(error)
    seconds = round(perf_counter() - began, 2)
    return Outcome(trial.values, trial.seed, trial.name, "failed" if reason else "done", seconds, reason, scores)


def _flat(scores: dict[str, Any]) -> dict[str, float]:
    sections = {name: scores[name] for name in ("val", "train") if name in scores}
    return {f"{section}/{name}": value for section, values in sections.items() for name, value in values.items()}
