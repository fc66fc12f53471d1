"""Ranks the runs in a folder: what each learnt from, its recipe, its scores and its cost. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal, NamedTuple

from dml import runs
from dml.errors import UserError

Part = Literal["val", "test"]
SCORES = ("map_at_r", "recall_at_1", "knn_accuracy", "accuracy", "mse", "loss")  # the first that a run has ranks it


class LeaderboardRow(NamedTuple):
    """A run: what it learnt from and with, its scores, processor seconds and date; `problem`: why it has none."""

    name: str
    data: str
    encoder: str
    loss: str
    scores: dict[str, float]
    seconds: float | None
    created: str
    problem: str = ""


def leaderboard(runs_dir: str | Path, part: Part = "val", score: str | None = None) -> list[LeaderboardRow]:
    """Return all runs in a folder, the best by a score first and those without it last.

    Runs of other data or another split are not comparable: look at the column `data` before the order.

    Args:
        runs_dir: The folder that holds the runs; those of sweeps and folds, one folder deeper, too.
        part: Whose scores.
        score: What ranks them, such as `knn_accuracy`; None: each run's own first of map_at_r, recall_at_1,
            knn_accuracy, accuracy, mse and loss.

    Raises:
        UserError: The folder holds no run, or none with that score.

    Example:
        >>> leaderboard("no_runs_yet")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no_runs_yet holds no run: train one by `dml fit`, or name its folder by --runs_dir
    """
    folder = Path(runs_dir)
    found = [path.parent for depth in ("*", "*/*") for path in sorted(folder.glob(f"{depth}/{runs.CONFIG}"))]
    if not found:
        raise UserError(f"{folder} holds no run: train one by `dml fit`, or name its folder by --runs_dir")
    return ranked({run.relative_to(folder).as_posix(): run for run in found}, part, score, str(folder))


def ranked(
    found: Mapping[str, Path], part: Part = "val", score: str | None = None, where: str = "them"
) -> list[LeaderboardRow]:
    """Return these runs, the best by a score first and those without it last.

    Args:
        found: The run folders, by the names they have on the board.
        part: Whose scores.
        score: What ranks them, as in `leaderboard`.
        where: What holds them, for the error.

    Raises:
        UserError: None of them has that score.

    Example:
        >>> ranked({})
        []
    """
    rows = [_read(run, name, part) for name, run in found.items()]
    if score is not None and not any(score in row.scores for row in rows):
        known = ", ".join(sorted({name for row in rows for name in row.scores})) or "none"
        raise UserError(f"no run in {where} has the {part} score {score!r}: there are {known}")
    return sorted(rows, key=lambda row: _rank(row, [score] if score else SCORES))


def _rank(row: LeaderboardRow, names: Sequence[str]) -> tuple[int, float, str]:
    for place, name in enumerate(names):
        if name in row.scores:
            sign = 1 if runs.lower_is_better(name) else -1
            return place, sign * row.scores[name], row.name
    return len(names), 0.0, row.name


def _read(run: Path, name: str, part: Part) -> LeaderboardRow:
    problem = ""
    recipe: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    protocol: dict[str, Any] = {}
    try:
        recipe = runs.read_recipe(run)
        protocol = _mapping(runs.read_json(run / runs.PROTOCOL)) if (run / runs.PROTOCOL).exists() else {}
        if (run / runs.SCORES).exists():
            scores = runs.read_scores(run / runs.SCORES)
        else:
            problem = "not scored: interrupted, or still training"
    except UserError as error:
        problem = str(error)
    model = _mapping(_mapping(recipe.get("model")).get("init_args"))
    seconds = _mapping(protocol.get("cost")).get("processor_seconds")
    return LeaderboardRow(
        name=name,
        data=_data(_mapping(protocol.get("data"))),
        encoder=_class(model.get("encoder")),
        loss=_class(model.get("loss")) or _class(model.get("head")),
        scores={key: float(value) for key, value in _mapping(scores.get(part)).items()},
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        created=str(protocol.get("created", "")),
        problem=problem,
    )


def _data(told: Mapping[str, Any]) -> str:
    """Return the source's last name and the split's hash: runs with equal ones are comparable."""
    source, split = str(told.get("source", "")), str(told.get("split_hash", ""))
    return f"{PurePath(source).name or source}{f' ({split[:4]})' if split else ''}"


def _class(block: Any) -> str:
    path = block.get("class_path", "") if isinstance(block, dict) else block or ""
    return str(path).rpartition(".")[2]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
