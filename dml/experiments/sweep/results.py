"""Writes a sweep's results: table, best recipe, plot and HParams, each made afresh from the records."""

import csv
import io
import math
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from dml import runs
from dml.errors import UserError, reason_of
from dml.experiments.mean_sd import mean_sd
from dml.experiments.sweep.objective import Objective
from dml.experiments.sweep.records import Sweep
from dml.experiments.sweep.search import Configuration
from dml.experiments.sweep.space import value_of
from dml.experiments.sweep.study import STATES
from dml.experiments.sweep.trials import Outcome
from dml.reports import png
from dml.reports.curves import swept_curves, swept_heatmap, swept_points

TABLE, PLOT, BEST, BOARD = "sweep.csv", "sweep.png", "best.yaml", "hparams"
_LINES = 6  # more values of a second key are a heat map


class Best(NamedTuple):
    """The best configuration and its score under each seed."""

    values: Configuration
    scores: list[float]

    def __str__(self) -> str:
        """Return it in one line."""
        words = ", ".join(f"{key}={value}" for key, value in self.values.items())
        seeds = f" ({len(self.scores)} seeds)" if len(self.scores) > 1 else ""
        return f"{words}: {mean_sd(self.scores, 4)}{seeds}"


def find_best(sweep: Sweep, objective: Objective) -> Best | None:
    """Return the configuration with the best mean among those that ended well under most seeds: one seed may be lucky.

    Args:
        sweep: With its records.
        objective: The score.
    """
    scored = [Best(values, sweep.scores(values, objective.score)) for values in sweep.configurations]
    most = max((len(best.scores) for best in scored), default=0)
    whole = [best for best in scored if len(best.scores) == most > 0]
    sign = 1 if objective.mode == "max" else -1
    return max(whole, key=lambda best: sign * statistics.mean(best.scores), default=None)


def write_results(sweep: Sweep, objective: Objective) -> Best | None:
    """Write `sweep.csv`, HParams, `sweep.png` and `best.yaml`; return the best, None if no trial ended well."""
    write_table(sweep)
    for outcome in sweep.outcomes:
        if outcome.status == "done":
            write_board(sweep.folder, outcome)
    best = find_best(sweep, objective)
    if best is None:
        return None
    runs.write_bytes(sweep.folder / PLOT, png(draw(sweep, objective)))
    first = next(o for o in sweep.outcomes if o.values == best.values and o.status == "done")
    recipe = (sweep.folder / first.run / runs.CONFIG).read_text(encoding="utf-8")
    tried = f"the best of {len(sweep.configurations)} configurations of the sweep {sweep.folder.name}"
    runs.write_bytes(sweep.folder / BEST, f"# {tried}, by {objective.score}\n# {best}\n{recipe}".encode())
    return best


def write_table(sweep: Sweep) -> None:
    """Write `sweep.csv`: one row per trial: its keys, seed, status, seconds, scores, and why it failed."""
    names = sorted({name for outcome in sweep.outcomes for name in outcome.scores})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*sweep.keys, "seed", "status", "seconds", *names, "run", "reason"])
    for o in sorted(sweep.outcomes, key=lambda o: (sweep.configurations.index(o.values), o.seed)):
        scores = [o.scores.get(name, "") for name in names]
        writer.writerow([*(o.values[k] for k in sweep.keys), o.seed, o.status, o.seconds, *scores, o.run, o.reason])
    runs.write_bytes(sweep.folder / TABLE, text.getvalue().encode())


def read_table(folder: Path) -> tuple[list[str], list[Outcome]]:
    """Return the keys of a sweep and the outcomes of its trials, as `write_table` wrote them.

    Args:
        folder: The sweep's.

    Raises:
        UserError: The table is broken.
    """
    place = folder / TABLE
    try:
        with place.open(encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file)
        seed, run = head.index("seed"), head.index("run")
        found = []
        for row in rows:
            named = zip(head[seed + 3 : run], row[seed + 3 : run], strict=True)
            scores = {name: float(value) for name, value in named if value}
            values = dict(zip(head[:seed], row[:seed], strict=True))
            status: Any = row[seed + 1]
            if status not in STATES:
                raise ValueError(f"a status {status!r}")
            found.append(Outcome(values, int(row[seed]), row[run], status, float(row[seed + 2]), row[run + 1], scores))
    except (OSError, ValueError, IndexError) as error:
        told = f"{place} is not a sweep's table ({reason_of(error)})"
        raise UserError(f"{told}: the same `dml sweep` writes it again") from error
    return head[:seed], found


def draw(sweep: Sweep, objective: Objective) -> Figure:
    """Draw the score against the keys: lines for one key or few values of a second, a heat map, or one panel per key.

    Args:
        sweep: With at least one finished trial.
        objective: The score; beside a `val/` score the references' own (`train/`) is drawn where there is one.
    """
    scored = [values for values in sweep.configurations if sweep.scores(values, objective.score)]
    columns = {key: [value_of(values[key]) for values in scored] for key in sweep.keys}
    twin = objective.score.replace("val/", "train/")
    names = [objective.score]
    if twin != objective.score and any(twin in outcome.scores for outcome in sweep.outcomes):
        names.append(twin)
    scores = {name: [sweep.scores(values, name) for values in scored] for name in names}
    counts = {key: len(set(column)) for key, column in columns.items()}
    if len(columns) == 1:
        return swept_curves(columns[sweep.keys[0]], scores, sweep.keys[0])
    is_grid = len(set(zip(*columns.values(), strict=True))) == math.prod(counts.values())
    if len(columns) == 2 and is_grid:
        x, line = sorted(columns, key=lambda key: -counts[key])  # stable: the first key is the axis
        if counts[line] > _LINES:
            return swept_heatmap(columns[x], columns[line], scores[objective.score], (x, line), objective.score)
        return swept_curves(columns[x], {objective.score: scores[objective.score]}, x, (line, columns[line]))
    return swept_points(columns, scores[objective.score], objective.score)


def write_board(folder: Path, outcome: Outcome) -> None:
    """Write a trial's keys and scores for TensorBoard's HParams page, `tensorboard --logdir SWEEP/hparams`.

    Args:
        folder: The sweep's folder.
        outcome: A trial that came to an end.
    """
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    place = folder / BOARD / outcome.run
    if place.exists():
        return
    keys = {key: value_of(value) for key, value in outcome.values.items()} | {"seed": outcome.seed}
    keys = {key: "null" if value is None else value for key, value in keys.items()}
    with SummaryWriter(str(place)) as writer:
        for summary in hparams(keys, outcome.scores):
            writer.file_writer.add_summary(summary)
        for name, score in outcome.scores.items():
            writer.add_scalar(name, score)
