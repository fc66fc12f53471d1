"""What `dml evaluate` prints: each score with its interval, newly computed or already in the run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dml import runs


def tell_recorded(run: Path, split: str) -> dict[str, Any] | None:
    """Print and return what the run already holds; None if something is missing or the weights are newer.

    Args:
        run: The run's folder.
        split: `val` or `test`.
    """
    files = [run / runs.SCORES, runs.queries_path(run, split), runs.neighbors_path(run, split)]
    files.append(runs.classes_path(run, split))
    trained = runs.find_checkpoint(run, "best").stat().st_mtime
    if not all(file.exists() and file.stat().st_mtime >= trained for file in files):
        return None
    known = runs.read_scores(run / runs.SCORES)
    scores, intervals = known.get(split, {}), known.get("intervals", {}).get(split, {})
    ids = runs.read_arrays(files[1]).get("ids")
    references = runs.read_arrays(files[2]).get("num_references")
    if "map_at_r" not in scores or not intervals or ids is None or references is None:
        return None
    if ids.ndim != 1 or references.ndim or references.dtype.kind not in "iu":
        return None  # damaged: it is made anew
    queries = len(ids) + int(scores.get("num_lone_queries", 0))
    told = f"as recorded in {run / runs.SCORES}: nothing was missing"
    return _tell(scores, intervals, queries, int(references), told) | {"written_to": run / runs.SCORES}


def tell_scores(
    scores: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    num_queries: int,
    num_references: int,
    output: Path | None,
) -> dict[str, Any]:
    """Print and return scores with their intervals.

    Args:
        scores: By name.
        intervals: Of those that have one.
        num_queries: How many were scored.
        num_references: How many were searched.
        output: Where they were written; None: nowhere.
    """
    written = f"written to {output}" if output else "settings differ from the run's own: not written without --output"
    return _tell(scores, intervals, num_queries, num_references, written) | {"written_to": output}


def _tell(
    scores: Mapping[str, float], intervals: Mapping[str, Any], num_queries: int, num_references: int, more: str
) -> dict[str, Any]:
    print(interval_table(scores, intervals))
    print(f"\n{num_queries} queries, {num_references} references; {more}")
    return {"scores": scores, "intervals": intervals, "queries": num_queries, "references": num_references}


def interval_table(scores: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> str:
    """Return scores, one per line, each with its interval if it has one.

    Example:
        >>> print(interval_table({"map_at_r": 0.5, "num_lone_queries": 3.0}, {"map_at_r": (0.45, 0.55)}))
        map_at_r          0.5000  [0.4500, 0.5500]
        num_lone_queries       3
    """
    width = max(map(len, scores))
    lines = []
    for name, value in scores.items():
        number = f"{value:>8.0f}" if name.startswith("num_") else f"{value:>8.4f}"
        low_high = "  [{:.4f}, {:.4f}]".format(*intervals[name]) if name in intervals else ""
        lines.append(f"{name:<{width}}{number}{low_high}")
    return "\n".join(lines)
