"""Writes one page of several runs, or of a sweep: ranking, curves, what differs, scores against each swept key."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dml import __version__, runs
from dml.errors import UserError
from dml.experiments.leaderboard import SCORES, LeaderboardRow, ranked
from dml.experiments.report import read_curves_of, read_scores
from dml.experiments.sweep.results import TABLE, read_table
from dml.experiments.sweep.space import value_of
from dml.experiments.sweep.trials import Outcome
from dml.reports import html
from dml.reports.runs_page import (
    RankedRun,
    SweptScores,
    comparable,
    curves_section,
    differences_section,
    leaderboard_section,
    swept_section,
)

_SHOWN = 4  # scores

Sections = Mapping[str, Sequence[str]]


def find_sweep(sweep: str, runs_dir: Path) -> Path | None:
    """Return the folder of a sweep, given by its name or path, None if there is none.

    Example:
        >>> find_sweep("margins", Path("no_runs_yet"))
    """
    return next((place for place in (runs_dir / sweep, Path(sweep)) if sweep and (place / TABLE).is_file()), None)


def write_runs_report(folders: Sequence[Path], output: Path) -> Path:
    """Write one page of several runs and return where it lies.

    Args:
        folders: The run folders, at least two.
        output: The file.

    Raises:
        UserError: One run is named twice, a file of a run is broken, or the page cannot be written.
    """
    named = {folder.name: folder for folder in folders}
    if len(named) < len(folders):  # of two folders of runs
        named = {str(folder): folder for folder in folders}
    if len(named) < len(folders):
        raise UserError(f"runs {', '.join(map(str, folders))}: one of them is named twice, name each once")
    found = _ranked(named)
    return _write(output, f"{len(found)} runs", ", ".join(named), found)


def write_sweep_report(folder: Path, output: Path) -> Path:
    """Write one page of a sweep's runs and return where it lies.

    Args:
        folder: The sweep's folder.
        output: The file.

    Raises:
        UserError: No trial has come to an end, a file is broken, or the page cannot be written.
    """
    keys, outcomes = read_table(folder)
    done = [outcome for outcome in outcomes if outcome.status == "done"]
    if not done:
        raise UserError(f"no trial of the sweep {folder} has come to an end: go on with it using `dml sweep`")
    found = _ranked({outcome.run: folder / outcome.run for outcome in done})
    failed = [html.note(f"{o.run} failed: {o.reason}") for o in outcomes if o.status == "failed"]
    about = f"over {', '.join(keys)}; {len(done)} of {len(outcomes)} trials came to an end"
    swept = {"Scores against each key": [*swept_section(_swept(keys, done)), *failed]}
    return _write(output, f"Sweep {folder.resolve().name}", about, found, swept)


def _sections(found: Sequence[RankedRun], names: Sequence[str]) -> dict[str, list[str]]:
    drawn = ["train/loss", "val/loss", *(f"val/{name}" for name in names if name != "loss")]
    return {
        "Leaderboard": leaderboard_section(found, names),
        "Curves": curves_section(found, drawn),
        "What differs between the recipes": differences_section(found),
    }


def _shown(scored: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the main scores that any of the runs has."""
    return [name for name in SCORES if any(name in scores for scores in scored)][:_SHOWN]


def _lead(found: Sequence[RankedRun], names: Sequence[str]) -> str:
    """Say which run is first by the main score, and whether that is inside the next one's interval."""
    if not names or names[0] not in found[0].scores:
        return "None of these runs has scores yet."
    name, best = names[0], found[0]
    told = f"{best.name} has the best {name}, {best.scores[name]:.3f}."
    if not comparable(found):
        return f"{told} The runs learnt from different data or splits, so their scores are not comparable."
    if len(found) == 1 or name not in found[1].scores:
        return told
    rival = found[1]
    low, high = rival.intervals.get(name, (rival.scores[name], rival.scores[name]))
    relation = "lies within" if low <= best.scores[name] <= high else "lies outside"
    return f"{told} It {relation} the interval of the next, {rival.name} ({rival.scores[name]:.3f})."


def _write(output: Path, title: str, about: str, found: Sequence[RankedRun], first: Sections | None = None) -> Path:
    names = _shown([run.scores for run in found])
    told = f"{about}; written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by dml {__version__}"
    sections = {**(first or {}), **_sections(found, names)}
    runs.write_bytes(output, html.page(title, told, sections, _lead(found, names)).encode())
    return output


def _ranked(named: Mapping[str, Path]) -> list[RankedRun]:
    rows = ranked(named)
    return [_read(row, named[row.name]) for row in rows]


def _read(row: LeaderboardRow, folder: Path) -> RankedRun:
    scores = {} if row.problem else read_scores(folder)
    pairs = scores.get("intervals", {}).get("val", {})
    return RankedRun(
        name=row.name,
        data=row.data,
        scores=row.scores,
        intervals={name: (float(low), float(high)) for name, (low, high) in pairs.items()},
        seconds=row.seconds,
        curves=read_curves_of(folder),
        recipe=_recipe(folder),
        problem=row.problem,
    )


def _recipe(folder: Path) -> dict[str, Any]:
    try:
        return runs.read_recipe(folder)
    except UserError:  # the row tells of it
        return {}


def _swept(keys: Sequence[str], done: Sequence[Outcome]) -> SweptScores:
    configurations = list({tuple(outcome.values.items()): outcome.values for outcome in done}.values())
    names = _shown([{name.removeprefix("val/"): 0.0 for name in outcome.scores} for outcome in done])
    scores = {
        name: [
            [o.scores[f"val/{name}"] for o in done if o.values == values and f"val/{name}" in o.scores]
            for values in configurations
        ]
        for name in names
    }
    return SweptScores({key: [value_of(values[key]) for values in configurations] for key in keys}, scores)
