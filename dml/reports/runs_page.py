"""The sections of a page on several runs: their ranking, their curves, what differs between their recipes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dml.reports import html
from dml.reports.curves import Series, swept_points, training_curves
from dml.reports.evidence import Interval, score_intervals
from dml.reports.recipe_keys import differing_keys
from dml.reports.run_page import duration
from dml.reports.scores_section import interval_text
from dml.runs import describe_score

_DRAWN = 12  # runs in one picture; more cannot be told apart
_WIDE = 8  # runs that stand side by side as columns


class RankedRun(NamedTuple):
    """A run on the page, in order of rank: what the sections need to know about it."""

    name: str
    data: str
    scores: Mapping[str, float]  # of the validation images
    intervals: Mapping[str, Interval]
    seconds: float | None
    curves: Mapping[str, Series]
    recipe: Mapping[str, Any]
    problem: str = ""


class SweptScores(NamedTuple):
    """A sweep's configurations that came to an end: by key their values, by score the values under each seed."""

    columns: Mapping[str, Sequence[object]]
    scores: Mapping[str, Sequence[Sequence[float]]]


def leaderboard_section(found: Sequence[RankedRun], names: Sequence[str]) -> list[str]:
    """Return the ranking with intervals, as a table and as a picture of the scores between 0 and 1.

    Args:
        found: The best first.
        names: The scores that are shown.

    Example:
        >>> run = RankedRun("first", "digits", {"map_at_r": 0.5}, {"map_at_r": (0.4, 0.6)}, 60.0, {}, {})
        >>> "0.5000 [0.400, 0.600]" in leaderboard_section([run], ["map_at_r"])[0]
        True
    """
    head = ["run, the best on validation first", *names, "data (split)", "processor time"]
    rows = [
        [
            run.name,
            *(_scored(run, name) for name in names),
            run.data,
            "" if run.seconds is None else duration(run.seconds),
        ]
        for run in found
    ]
    pieces = [html.table(head, rows)]
    told = [f"{name}: {meaning}." for name in names if (meaning := describe_score(name))]
    pieces.append(html.paragraph("95 % intervals are in brackets. " + " ".join(told)))
    if not comparable(found):
        pieces.append(html.note("The runs learnt from different data or splits: their scores are not comparable."))
    pieces += [html.note(f"{run.name}: {run.problem}") for run in found if run.problem]
    shown = {run.name: {name: run.scores[name] for name in names if _is_share(name, run)} for run in found[:_DRAWN]}
    shown = {name: scores for name, scores in shown.items() if scores}
    if shown:
        bars = {run.name: run.intervals for run in found}
        pieces.append(html.drawing(score_intervals(shown, bars), f"The scores of the {_best(shown, found)}"))
    return pieces


def curves_section(found: Sequence[RankedRun], names: Sequence[str]) -> list[str]:
    """Return the curves of all runs over the optimiser steps, one picture for each number.

    Args:
        found: The best first; only the first 12 are drawn.
        names: What is drawn, of the numbers that runs logged: `train/loss`.

    Example:
        >>> run = RankedRun("first", "digits", {}, {}, None, {"train/loss": ([1, 2], [2.0, 1.0])}, {})
        >>> curves_section([run], ["train/loss"])[0].count("<img")
        1
    """
    pieces = []
    for name in names:
        curves = {run.name: run.curves[name] for run in found[:_DRAWN] if name in run.curves}
        if curves:
            pieces.append(html.drawing(training_curves(curves, name), f"{name} of the {_best(curves, found)}"))
    return [html.side_by_side(pieces)] if pieces else [html.note("The runs left no curves.")]


def differences_section(found: Sequence[RankedRun]) -> list[str]:
    """Return the keys of the recipes that differ, with each run's value.

    Args:
        found: The best first.

    Example:
        >>> runs = [RankedRun(name, "", {}, {}, None, {}, {"k": k}) for name, k in (("a", 5), ("b", 7))]
        >>> "<td>7</td>" in differences_section(runs)[0]
        True
    """
    rows = differing_keys({run.name: run.recipe for run in found if run.recipe})
    if not rows:
        return [html.paragraph("The recipes are equal.")]
    names = [run.name for run in found if run.recipe]
    if len(names) <= _WIDE:
        columns = [[key, *(row[name] for name in names)] for key, row in rows.items()]
        return [html.table(["key", *names], columns, numbers=False)]
    lines = [[name, *(row[name] for row in rows.values())] for name in names]
    return [html.table(["run", *rows], lines, numbers=False)]


def swept_section(swept: SweptScores) -> list[str]:
    """Return each score against each swept key, and the means over seeds as a table.

    Args:
        swept: At least one configuration.

    Example:
        >>> pieces = swept_section(SweptScores({"margin": [0.1, 0.2]}, {"map_at_r": [[0.5, 0.7], [0.8]]}))
        >>> pieces[0].count("<img"), "0.6000 (2)" in pieces[1]
        (1, True)
    """
    pictures = [
        html.drawing(swept_points(swept.columns, samples, name), f"{name} against each key: means ± sd over seeds")
        for name, samples in swept.scores.items()
        if all(samples)
    ]
    rows = []
    for at in range(len(next(iter(swept.columns.values())))):
        means = [_mean(samples[at]) for samples in swept.scores.values()]
        rows.append([*(str(values[at]) for values in swept.columns.values()), *means])
    table = html.table([*swept.columns, *swept.scores], rows)
    return [*pictures, table, html.paragraph("Means over seeds, with the number of seeds in brackets.")]


def comparable(found: Sequence[RankedRun]) -> bool:
    """Tell whether all runs learnt from the same split of the same data.

    Example:
        >>> comparable([])
        True
    """
    return len({run.data for run in found}) <= 1


def _scored(run: RankedRun, name: str) -> str:
    if name not in run.scores:
        return ""
    return f"{run.scores[name]:.4f} {interval_text(run.intervals.get(name), 3)}".strip()


def _is_share(name: str, run: RankedRun) -> bool:
    return name in run.scores and name not in {"loss", "mse"} and 0 <= run.scores[name] <= 1


def _best(shown: Mapping[str, Any], found: Sequence[RankedRun]) -> str:
    return f"{len(shown)} best runs of {len(found)}" if len(found) > _DRAWN else f"{len(shown)} runs"


def _mean(samples: Sequence[float]) -> str:
    return f"{sum(samples) / len(samples):.4f} ({len(samples)})" if samples else ""
