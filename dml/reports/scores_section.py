"""The scores of a run on its page: each once, explained, with its intervals, beside the untrained baselines."""

import re
from collections.abc import Mapping
from typing import Any

from dml.reports import html
from dml.reports.evidence import Interval, score_intervals
from dml.reports.run import Run
from dml.reports.verdict import verdict
from dml.runs import describe_score

HEADLINE = ("knn_accuracy", "recall_at_1", "map_at_r", "r_precision", "accuracy", "loss")
_FIRST: tuple[str, ...] = (
    *("knn_accuracy", "accuracy", "map_at_r", "recall", "precision", "r_precision", "map", "mrr", "ndcg"),
    *("knn_macro_precision", "knn_macro_recall", "knn_macro_f1", "macro_precision", "macro_recall", "macro_f1"),
)
_LAST = ("mse", "elbo", "loss", "spread", "effective_rank", "dead_dimensions", "num_lone_queries")
_PARTS = {"test": "test", "val": "validation"}
_BASELINES = {"pixels": "raw pixels", "untrained": "untrained encoder", "trained_sample": "trained"}

Scores = Mapping[str, float]


def lead(run: Run) -> str:
    """Return what the scores say, in two sentences.

    Example:
        >>> from pathlib import Path
        >>> lead(Run(Path("runs/first"), "", {}, {}, {}, {}))
        'This run has no scores yet. `dml validate --run runs/first` makes them.'
    """
    if (judged := verdict(run.scores)) is not None:
        return judged.text.replace("\n", " ")
    for part, what in _PARTS.items():
        told = [f"{name} {run.scores[part][name]:.3f}" for name in HEADLINE if name in run.scores.get(part, {})]
        if told:
            return f"On the {what} images: {', '.join(told[:3])}. No baseline was scored on them to compare with."
    return f"This run has no scores yet. `dml validate --run {run.folder}` makes them."


def scores_section(run: Run) -> list[str]:
    """Return all scores in one table, test and validation beside the same baselines, and a picture of the main ones."""
    parts = {part: what for part, what in _PARTS.items() if part in run.scores}
    if not parts:
        return [html.note(f"No scores yet: `dml validate --run {run.folder}` makes them.")]
    intervals = {part: run.scores.get("intervals", {}).get(part, {}) for part in parts}
    baselines = _baselines(run.scores, parts)
    pieces = [_table(run.scores, parts, intervals, baselines)]
    shown = {name: dict(row) for name, row in baselines.items()}
    shown |= {f"trained ({what})": run.scores[part] for part, what in reversed(parts.items())}
    drawn = {who: {name: row[name] for name in HEADLINE[:5] if name in row} for who, row in shown.items()}
    if any(drawn.values()):
        bars = {f"trained ({what})": _pairs(intervals[part]) for part, what in parts.items()}
        pieces.append(html.drawing(score_intervals(drawn, bars), "The main scores, beside the baselines"))
    for part, what in parts.items():
        if not intervals[part]:
            command = f"dml evaluate --run {run.folder}" + (" --split test" if part == "test" else "")
            pieces.append(html.note(f"The {what} scores have no intervals yet: `{command}` adds them."))
    if "test" not in parts:
        told = f"The test images have not been scored: `dml test --run {run.folder}`, once, at the end."
        pieces.append(html.note(told))
    train = run.scores.get("train", {}).get("knn_accuracy")
    if train is not None:
        pieces.append(html.paragraph(f"The references' own k-NN accuracy, leave-one-out: {train:.4f}."))
    return pieces


def in_order(names: set[str]) -> list[str]:
    """Return names of scores in order: accuracy, ranking, macro means, others, loss, descriptions of the space.

    Example:
        >>> in_order({"recall_at_10", "recall_at_5", "loss", "map_at_r", "nmi"})
        ['map_at_r', 'recall_at_5', 'recall_at_10', 'nmi', 'loss']
    """
    return sorted(names, key=_place)


def interval_text(pair: Any, digits: int = 4) -> str:
    """Return an interval as text, "" for None.

    Example:
        >>> interval_text((0.5, 0.75), 2)
        '[0.50, 0.75]'
    """
    return "" if pair is None else f"[{pair[0]:.{digits}f}, {pair[1]:.{digits}f}]"


def _place(name: str) -> tuple[int, str, int]:
    kind, _, number = name.rpartition("_at_") if re.search(r"_at_\d+$", name) else (name, "", "0")
    first = _FIRST.index(kind) if kind in _FIRST else len(_FIRST)
    return _LAST.index(kind) + len(_FIRST) + 1 if kind in _LAST else first, kind, int(number)


def _baselines(scores: Mapping[str, Any], parts: Mapping[str, str]) -> dict[str, Scores]:
    """Return the baselines of the parts that have some; those of validation also go with test scores."""
    held = {
        f"{_BASELINES.get(name, name)} ({_PARTS[part]}{_size(sections)})": sections[part]
        for part in _PARTS
        for name, sections in scores.get("baselines", {}).items()
        if sections.get(part) and (part in parts or part == "val")
    }
    return dict(held)


def _size(sections: Mapping[str, Scores]) -> str:
    """Return how many images a baseline was scored on, if they are a sample."""
    return f", {int(sections['sample']['images']):,} images" if "sample" in sections else ""


def _table(
    scores: Mapping[str, Any], parts: Mapping[str, str], intervals: Mapping[str, Any], baselines: Mapping[str, Scores]
) -> str:
    head = ["score"]
    for what in parts.values():
        head += [what, "95 % interval"]
    rows = []
    for name in in_order({name for part in parts for name in scores[part]}):
        row: list[str] = [html.explained(name, describe_score(name))]
        for part in parts:
            row += [_number(name, scores[part].get(name)), interval_text(intervals[part].get(name))]
        rows.append([*row, *(_number(name, values.get(name)) for values in baselines.values())])
    return html.table([*head, *baselines], rows)


def _pairs(intervals: Mapping[str, Any]) -> dict[str, Interval]:
    return {name: (float(low), float(high)) for name, (low, high) in intervals.items()}


def _number(name: str, value: float | None) -> str:
    whole = name.startswith("num_") or name == "dead_dimensions"
    return "" if value is None else f"{value:.0f}" if whole else f"{value:.4f}"
