"""The sections of a run's page, each from what the run's files say; where one is missing, the command that makes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dml import runs
from dml.reports import html
from dml.reports.curves import training_curves
from dml.reports.events import Curve
from dml.reports.evidence import score_intervals

_HEADLINE = ("knn_accuracy", "recall_at_1", "map_at_r", "r_precision", "accuracy", "loss")
_PROJECTIONS = {"tsne": "t-SNE of the embedding", "pca": "the embedding's two principal components"}
_PREDICTORS = {"knn": "vote of the nearest references", "head": "the classifier's head"}
_OF_CLASSES = ("precision", "recall", "f1")
_LISTED = 100  # classes


class Run(NamedTuple):
    """What the files of a run hold; a run that has not ended lacks some of it."""

    folder: Path
    recipe: str
    protocol: dict[str, Any]
    scores: dict[str, Any]
    curves: dict[str, Curve]
    pictures: dict[str, bytes]  # PNG by name
    classes: dict[str, dict[str, dict[str, float]]] = {}  # scores by who predicts and class  # noqa: RUF012


def subtitle(run: Run) -> str:
    """Return what was trained on, in one line; empty where no protocol says it."""
    data = run.protocol.get("data", {})
    images = data.get("trained_on", {}).get("images")
    return f"{data.get('source', 'unknown data')}, {images} training images" if images else ""


def recipe_section(run: Run) -> list[str]:
    """Return the recipe and the command that runs it again."""
    again = html.paragraph(f"The same run again: `dml fit --config {run.folder / runs.CONFIG}`")
    return [html.folded("the complete recipe, config.yaml", run.recipe), again]


def protocol_section(run: Run) -> list[str]:
    """Return what was trained on, scored against what, with which seed and versions."""
    if not run.protocol:
        return [html.note("This run has no protocol.json: it ended before training began, or it was removed.")]
    rows = [[name, value] for name, value in _flat(run.protocol) if not name.startswith("cost")]
    return [html.table([], rows, numbers=False)]


def scores_section(run: Run) -> list[str]:
    """Return all scores, beside raw pixels and the untrained encoder, with intervals where there are some."""
    if not any(section in run.scores for section in ("val", "test")):
        return [html.note(f"No scores yet: `dml validate --run {run.folder}` makes them.")]
    pieces = []
    for split in ("val", "test"):
        if split in run.scores:
            pieces += _scores_of(run, split)
    if "test" not in run.scores:
        pieces.append(
            html.note(f"The test images have not been scored: `dml test --run {run.folder}`, once, at the end.")
        )
    train = run.scores.get("train", {}).get("knn_accuracy")
    if train is not None:
        pieces.append(html.paragraph(f"The references' own k-NN accuracy, leave-one-out: {train:.4f}."))
    return pieces


def classes_section(run: Run) -> list[str]:
    """Return precision, recall and F1 of each class, the worst first, of k-NN votes and of a classifier's head."""
    if not run.classes:
        return [html.note(f"The run holds no scores of its classes: `dml evaluate --run {run.folder}` writes them.")]
    pieces = []
    for who, rows in run.classes.items():
        told = _PREDICTORS.get(who, who)
        worst = sorted(rows, key=lambda name: rows[name]["f1"])
        means = [sum(row[score] for row in rows.values()) / len(rows) for score in _OF_CLASSES]
        head = [f"validation, {told}", *_OF_CLASSES, "images"]
        macro = ["all classes alike (macro)", *(f"{mean:.4f}" for mean in means), ""]
        listed = [
            [name, *(f"{rows[name][score]:.4f}" for score in _OF_CLASSES), f"{rows[name]['support']:g}"]
            for name in worst[:_LISTED]
        ]
        pieces.append(html.table(head, [macro, *listed]))
        if len(worst) > _LISTED:
            pieces.append(html.paragraph(f"The {_LISTED} classes with the lowest F1 of {len(worst)}."))
    return pieces


def curves_section(run: Run) -> list[str]:
    """Return losses and scores over training."""
    losses: dict[str, Curve] = {name: run.curves[name] for name in ("train/loss", "val/loss") if name in run.curves}
    scores = {f"val/{name}": run.curves[f"val/{name}"] for name in _HEADLINE[:3] if f"val/{name}" in run.curves}
    scores |= {name: run.curves[name] for name in ("train/knn_accuracy", "val/accuracy") if name in run.curves}
    rates = {name: curve for name, curve in run.curves.items() if name.startswith("lr-")}
    pieces = []
    if losses:
        pieces.append(html.drawing(training_curves(losses, "loss"), "Loss over training"))
    if scores:
        pieces.append(html.drawing(training_curves(scores, "score (1 is best)"), "Scores over training"))
    if any(len(set(values)) > 1 for _, values in rates.values()):
        pieces.append(html.drawing(training_curves(rates, "learning rate"), "Learning rate over training"))
    if len(run.curves.get("val/loss", ([], []))[0]) == 1:
        pieces.append(html.paragraph("Validation was run once: trainer.check_val_every_n_epoch sets how often."))
    missing = (
        "No curves lie in the run: TensorBoard (`--trainer.logger true`, the default) or a CSVLogger leaves them there."
    )
    return pieces or [html.note(missing)]


def pictures_section(run: Run) -> list[str]:
    """Return the gallery with the worst queries, the projection, and every other picture of the run."""
    found = run.pictures
    if not found:
        return [html.note("This run holds no pictures: `dml fit` draws them when training ends.")]
    captions = {
        "gallery": "Queries and their nearest references; the lower half are the queries with most wrong neighbours",
        "weights": "The first weight matrix before and after training",
    }
    captions |= {
        name: f"Held-back images: {what}, one colour and marker per class" for name, what in _PROJECTIONS.items()
    }
    order = [name for name in captions if name in found] + [name for name in found if name not in captions]
    pieces = [html.picture(found[name], captions.get(name, name.replace("_", " "))) for name in order]
    if not _PROJECTIONS.keys() & found.keys():
        pieces.append(html.note("There is no projection: train with `--pictures.projection tsne` or `pca`."))
    return pieces


def cost_section(run: Run) -> list[str]:
    """Return time and memory that training took."""
    cost = run.protocol.get("cost")
    if not cost:
        return [
            html.note("Time and memory are noted when training ends: this run was stopped, or made by an older dml.")
        ]
    rows = [
        ["training, with its validations and checkpoints", _duration(cost["training_seconds"])],
        ["processor time in it, all threads", _duration(cost["processor_seconds"])],
    ]
    memory = {
        "peak_memory_bytes": "largest memory of the process",
        "peak_cuda_memory_bytes": "largest memory on the GPU",
    }
    rows += [[what, f"{cost[key] / 2**30:.2f} GiB"] for key, what in memory.items() if cost.get(key) is not None]
    rows.append(["device", str(run.protocol.get("device", "unknown"))])
    return [html.table([], rows)]


def _scores_of(run: Run, split: str) -> list[str]:
    own = run.scores[split]
    found = run.scores.get("baselines", {})
    baselines = {runs.baseline_label(name, sections): sections.get(split, {}) for name, sections in found.items()}
    baselines = {name: row for name, row in baselines.items() if row}
    intervals = run.scores.get("intervals", {}).get(split, {})
    rows = []
    for name in [*(n for n in _HEADLINE if n in own), *(n for n in sorted(own) if n not in _HEADLINE)]:
        low_high = "[{:.4f}, {:.4f}]".format(*intervals[name]) if name in intervals else ""
        numbers = [_number(name, row.get(name)) for row in (own, *baselines.values())]
        rows.append([name, numbers[0], low_high, *numbers[1:]])
    what = {"val": "validation", "test": "test"}[split]
    pieces = [html.table([f"{what} score", "trained", "95 % interval", *baselines], rows)]
    shown = {**baselines, "trained": own}
    drawn = {who: {n: row[n] for n in _HEADLINE[:4] if n in row} for who, row in shown.items()}
    if any(drawn.values()):
        bars = {"trained": {name: tuple(pair) for name, pair in intervals.items()}}
        pieces.append(html.drawing(score_intervals(drawn, bars), f"The {what} scores beside those without training"))
    if not intervals:
        command = f"dml evaluate --run {run.folder}" + (" --split test" if split == "test" else "")
        pieces.append(html.note(f"The {what} scores have no intervals yet: `{command}` adds them."))
    return pieces


def _flat(values: Mapping[str, Any], path: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in values.items():
        name = f"{path}{key}".replace("_", " ")
        rows += _flat(value, f"{name}: ") if isinstance(value, dict) else [(name, str(value))]
    return rows


def _number(name: str, value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if name.startswith("num_") else f"{value:.4f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{rest:.1f} s" if not minutes else f"{minutes:.0f} min {rest:.0f} s"
