"""Compares two runs query by query; a run without scores of its queries is evaluated first."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dml.errors import UserError
from dml.evaluation import (
    MOST_CLASSES,
    Difference,
    QueryScores,
    SignFlips,
    holm,
    mean_scores,
    paired_difference,
    sign_flips,
)
from dml.runs import CHECKPOINTS, queries_path

Evaluate = Callable[[list[str]], int]


class Comparison(NamedTuple):
    """One score of two runs."""

    first: float
    second: float
    change: Difference
    corrected_p: float  # the primary score's is its own; Holm's for the others
    flips: SignFlips | None  # of the primary score, where classes are few enough to try all


def compare_runs(
    first: Path, second: Path, split: str, level: float, primary: str, evaluate: Evaluate
) -> dict[str, Comparison]:
    """Return both runs' means and their difference for each score that both have, the primary one first.

    The primary score is the one question asked beforehand and stands alone; the others are corrected for their number.

    Args:
        first: Folder of the run to compare with.
        second: Folder of the run that is compared.
        split: `val` or `test`.
        level: Of the interval of the difference, in (0, 1).
        primary: The score that decides.
        evaluate: Runs `dml evaluate` with these arguments; called for a run not scored since its last checkpoint.

    Raises:
        UserError: The runs scored different queries, cannot be scored, or one lacks the primary score.
    """
    one, two = (_table(run, split, evaluate) for run in (first, second))
    names = [name for name in one.scores if name in two.scores]
    if primary not in names:
        raise UserError(f"primary score {primary!r} is not in both runs: choose one of {', '.join(names)}")
    names = [primary, *(name for name in names if name != primary)]
    means = [mean_scores(table) for table in (one, two)]
    changes = {name: paired_difference(one, two, name, level) for name in names}
    corrected = {primary: changes[primary].p_value}
    corrected |= holm({name: changes[name].p_value for name in names[1:]})
    few = len(np.unique(one.labels)) <= MOST_CLASSES
    flips = {primary: sign_flips(one, two, primary)} if few else {}
    return {
        name: Comparison(means[0][name], means[1][name], changes[name], corrected[name], flips.get(name))
        for name in names
    }


def _table(run: Path, split: str, evaluate: Evaluate) -> QueryScores:
    record = queries_path(run, split)
    checkpoint = run / CHECKPOINTS / "best.ckpt"
    if not record.exists() or (checkpoint.exists() and checkpoint.stat().st_mtime > record.stat().st_mtime):
        evaluate(["--run", str(run), "--split", split])
    return QueryScores.load(record)
