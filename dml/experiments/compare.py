"""Compares two runs query by query; a run without scores of its queries is evaluated first."""

from collections.abc import Callable
from pathlib import Path

from dml.evaluation import Difference, QueryScores, paired_difference
from dml.runs import CHECKPOINTS, queries_path

Evaluate = Callable[[list[str]], int]


def compare_runs(
    first: Path, second: Path, split: str, level: float, seed: int, evaluate: Evaluate
) -> dict[str, tuple[float, float, Difference]]:
    """Return for each score both runs have: the first's mean, the second's, and their difference.

    Args:
        first: Folder of the run to compare with.
        second: Folder of the run that is compared.
        split: `val` or `test`.
        level: Of the interval of the difference, in (0, 1).
        seed: Of the resampling.
        evaluate: Runs `dml evaluate` with these arguments; called for a run not scored since its last checkpoint.

    Raises:
        UserError: The runs scored different queries, or cannot be scored.
    """
    tables = [_table(run, split, evaluate) for run in (first, second)]
    names = [name for name in tables[0].scores if name in tables[1].scores]
    return {
        name: (
            float(tables[0].scores[name].mean()),
            float(tables[1].scores[name].mean()),
            paired_difference(tables[0], tables[1], name, level, seed=seed),
        )
        for name in names
    }


def _table(run: Path, split: str, evaluate: Evaluate) -> QueryScores:
    record = queries_path(run, split)
    checkpoint = run / CHECKPOINTS / "best.ckpt"
    if not record.exists() or (checkpoint.exists() and checkpoint.stat().st_mtime > record.stat().st_mtime):
        evaluate(["--run", str(run), "--split", split])
    return QueryScores.load(record)
