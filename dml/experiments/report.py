"""Writes the page of a run: reads the run's files, computes what is missing, and composes the sections."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dml import __version__, runs
from dml.errors import UserError, reason_of
from dml.evaluation import (
    Evaluation,
    Neighborhoods,
    QueryScores,
    confusion_matrix,
    find_suspects,
    occurrences,
)
from dml.evaluation.hubs import read_neighborhoods
from dml.reports import html, run_page
from dml.reports.events import Curve, read_curves
from dml.reports.neighbors_page import Suspect, confusion_section, hubness_section, suspects_section
from dml.reports.run import Run
from dml.reports.scores_section import lead, scores_section

REPORT = "report.html"
_K = 10  # neighbours asked for hubs and suspects

Arrays = dict[str, NDArray[Any]]


def write_report(folder: Path, output: Path | None = None) -> Path:
    """Write a run's report, one HTML file that refers to nothing outside it, and return where it lies.

    Args:
        folder: The run folder.
        output: The file; None takes `report.html` in the run.

    Raises:
        UserError: The folder holds no recipe, a file in it is broken, or the report cannot be written.
    """
    run = read_run(folder)
    about = [run_page.subtitle(run), f"written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by dml {__version__}"]
    sections = {
        "Scores": scores_section(run),
        "Curves": run_page.curves_section(run),
        "Gallery and projection": run_page.pictures_section(run),
        "Classes": run_page.classes_section(run),
        **_neighbor_sections(folder),
        "Time and memory": run_page.cost_section(run),
        "Protocol": run_page.protocol_section(run),
        "Recipe": run_page.recipe_section(run),
    }
    path = output or folder / REPORT
    page = html.page(f"Run {folder.resolve().name}", "; ".join(filter(None, about)), sections, lead(run))
    runs.write_bytes(path, page.encode())
    return path


def read_run(folder: Path) -> Run:
    """Read a run's files; if it has not ended, some may be missing.

    Raises:
        UserError: There is no recipe, or a file is broken.
    """
    try:
        recipe = runs.read_bytes(folder / runs.CONFIG).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{folder} is not a run: it holds no readable {runs.CONFIG}") from error
    protocol = _read_protocol(folder / runs.PROTOCOL)
    if protocol and (readings := runs.read_readings(folder)):
        told = ", ".join(f"{line.get('time', '?')} by {line.get('verb', '?')}" for line in readings[-3:])
        protocol |= {"test_part_scored": f"{len(readings)} times, last {told}"}
    scores = read_scores(folder)
    curves = read_curves_of(folder)
    try:
        pictures = {path.stem: runs.read_bytes(path) for path in sorted((folder / runs.PICTURES).glob("*.png"))}
    except OSError as error:
        raise UserError(f"picture {error.filename} cannot be read ({reason_of(error)}): move it away") from error
    return Run(folder, recipe, protocol, scores, curves, pictures, _read_classes(runs.classes_path(folder, "val")))


def read_curves_of(folder: Path) -> dict[str, Curve]:
    """Read what a run logged over training.

    Raises:
        UserError: Its events are broken.
    """
    try:
        return read_curves(folder)
    except Exception as error:  # whatever a broken event file makes TensorBoard stumble over
        raise UserError(f"the events in {folder} cannot be read ({error}): move them away") from error


def read_scores(folder: Path) -> dict[str, Any]:
    """Read a run's scores, with intervals computed from the records of its queries; the file is not changed.

    Raises:
        UserError: A file is broken.
    """
    if not (folder / runs.SCORES).exists():
        return {}
    scores = runs.read_scores(folder / runs.SCORES)
    intervals = dict(scores.get("intervals", {}))
    for part in ("val", "test"):
        record = runs.queries_path(folder, part)
        if part in scores and part not in intervals and record.exists():
            found = Evaluation.of(QueryScores.load(record))
            if all(math.isclose(value, scores[part].get(name, value)) for name, value in found.scores.items()):
                intervals[part] = found.intervals()  # the record is of these very scores
    return scores | ({"intervals": intervals} if intervals else {})


def _neighbor_sections(folder: Path) -> dict[str, list[str]]:
    path = runs.neighbors_path(folder, "val")
    if not path.exists():
        told = f"The run holds no neighbours of its validation images: `dml evaluate --run {folder}` writes them."
        return {heading: [html.note(told)] for heading in ("Confusion", "Label-noise suspects", "Hubness")}
    near, more = read_neighborhoods(path)
    if missing := {"votes", "class_names", "names"} - more.keys():
        raise UserError(f"{path} lacks {', '.join(sorted(missing))}: write it again with `dml evaluate --run {folder}`")
    try:
        votes, names = int(more["votes"]), list(map(str, more["class_names"]))
        confusion = confusion_matrix(near.neighbor_labels[:, :votes], near.labels)
        k = min(_K, near.neighbor_labels.shape[1])
        return {
            "Confusion": confusion_section(confusion.shares, [names[label] for label in confusion.classes], votes),
            "Label-noise suspects": suspects_section(_suspects(near, more, k), k),
            "Hubness": hubness_section(occurrences(near, k), len(near.labels), k),
        }
    except Exception as error:  # arrays that do not fit each other fail in many ways
        told = f"{path} holds neighbours that do not fit together ({reason_of(error)})"
        raise UserError(f"{told}: write it again with `dml evaluate --run {folder}`") from error


def _suspects(near: Neighborhoods, more: Arrays, k: int) -> list[Suspect]:
    """Return the suspects, the surest first; the first of them have pictures if the run kept some."""
    pictures = more.get("suspect_pictures", np.empty(0, np.uint8))
    names, class_names = more["names"], more["class_names"]
    return [
        Suspect(
            name=str(names[position]),
            label=str(class_names[near.labels[position]]),
            proposed=str(class_names[proposed]),
            votes=round(share * k),
            pictures=pictures[at] if at < len(pictures) else None,
        )
        for at, (position, proposed, share) in enumerate(zip(*find_suspects(near, k), strict=True))
    ]


def _read_classes(path: Path) -> dict[str, dict[str, dict[str, float]]]:
    found = runs.read_json(path) if path.exists() else {}
    try:
        return {
            str(who): {
                str(name): {score: float(row[score]) for score in ("precision", "recall", "f1", "support")}
                for name, row in rows.items()
            }
            for who, rows in found.items()
            if rows
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        told = f"{path} holds no scores of classes ({reason_of(error)})"
        raise UserError(f"{told}: write it again with `dml evaluate --run {path.parent}`") from error


def _read_protocol(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = runs.read_json(path) if path.exists() else {}
    blocks = [content] if isinstance(content, dict) else []
    blocks += [block.get(name, {}) for block in blocks[:1] for name in ("data", "cost")]
    blocks += [block.get("trained_on", {}) for block in blocks[1:2] if isinstance(block, dict)]
    if len(blocks) < 4 or not all(isinstance(block, dict) for block in blocks):
        raise UserError(f"{path} does not hold a JSON object of a protocol: restore it or run again")
    cost = blocks[2].values()
    if not all(value is None or isinstance(value, int | float) for value in cost):
        raise UserError(f"{path} holds a cost that is not a number: restore it or run again")
    return content
