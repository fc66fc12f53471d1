"""Runs a trial of a sweep as `dml fit`, and returns its outcome."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, final

from dml import runs
from dml.errors import UserError
from dml.experiments.jobs import JobError, Start, run_fit, with_variables
from dml.experiments.sweep.pruning import PrunedError, Report

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
    """The outcome of a trial: its scores by `section/score`, or in one line why it failed or was pruned."""

    values: dict[str, str]
    seed: int
    run: str
    status: Literal["done", "failed", "pruned"]
    seconds: float
    reason: str = ""
    scores: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it in JSON's form."""
        return asdict(self)


def run_trial(folder: Path, recipe: Sequence[str], trial: Trial, start: Start, report: Report | None) -> Outcome:
    """Run a trial to its end, from its checkpoint if it was interrupted.

    Args:
        folder: The sweep's folder, which holds the trials' runs.
        recipe: `--config FILE` and `--KEY VALUE` that all trials share.
        trial: What is to be run.
        start: Runs `dml` with these words and gives its exit code.
        report: Where it reports its score after each epoch; None: nowhere.

    Raises:
        KeyboardInterrupt: Ctrl-C ended it.
    """
    keys = [*(f"--{key}={value}" for key, value in trial.values.items()), f"--seed_everything={trial.seed}"]
    log = folder / LOGS / f"{trial.name}.txt"
    if report is not None:
        start = with_variables(start, report.variables())
    began = perf_counter()
    status: Literal["done", "failed", "pruned"] = "done"
    reason, scores = "", {}
    try:
        run_fit(folder / trial.name, [*recipe, *keys], log, start)
        scores = _flat(runs.read_json(folder / trial.name / runs.SCORES))
    except JobError as error:
        reason = str(error)
        status = "pruned" if error.code == PrunedError.exit_code else "failed"
    return Outcome(trial.values, trial.seed, trial.name, status, round(perf_counter() - began, 2), reason, scores)


@final
class RecipeFiles:
    """The recipe files of a sweep, as they were when this worker read them.

    Args:
        recipe: `--config FILE` and `--KEY VALUE`.

    Example:
        >>> RecipeFiles(["--data.batch_size", "60"]).check()
    """

    def __init__(self, recipe: Sequence[str]) -> None:
        files = [Path(value) for word, value in pairwise(recipe) if word == "--config"]
        self._digests = {file: _digest(file) for file in files}

    def check(self) -> None:
        """Refuse to go on if one was changed since.

        Raises:
            UserError: It names the file.
        """
        for file, digest in self._digests.items():
            if _digest(file) != digest:
                mend = "undo that, or give the sweep another name; the current trial is not recorded"
                raise UserError(f"{file} was changed during the sweep: {mend}")


def _digest(file: Path) -> str | None:
    is_text = "\n" in str(file)  # a recipe itself, not the name of one
    return None if is_text or not file.is_file() else hashlib.sha256(file.read_bytes()).hexdigest()


def _flat(scores: dict[str, Any]) -> dict[str, float]:
    sections = {name: scores[name] for name in ("val", "train") if name in scores}
    return {f"{section}/{name}": value for section, values in sections.items() for name, value in values.items()}
