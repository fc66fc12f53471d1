"""The sections of a run's page, each from the run's files; if one is missing, the command that makes it."""

from collections.abc import Mapping
from typing import Any

from dml import runs
from dml.reports import html
from dml.reports.curves import training_curves
from dml.reports.events import Curve
from dml.reports.run import Run
from dml.reports.scores_section import HEADLINE

_PROJECTIONS = {"tsne": "t-SNE of the embedding", "pca": "the embedding's two principal components"}
_PREDICTORS = {"knn": "vote of the nearest references", "head": "the classifier's head"}
_OF_CLASSES = ("precision", "recall", "f1")
_LISTED = 100  # classes


def subtitle(run: Run) -> str:
    """Return what was trained on, in one line; empty if no protocol says it."""
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
    scores = {f"val/{name}": run.curves[f"val/{name}"] for name in HEADLINE[:3] if f"val/{name}" in run.curves}
    scores |= {name: run.curves[name] for name in ("train/knn_accuracy", "val/accuracy") if name in run.curves}
    rates = {name: curve for name, curve in run.curves.items() if name.removeprefix("train/").startswith("lr-")}
    pieces = []
    if losses:
        pieces.append(html.drawing(training_curves(losses, "loss"), "Loss over training"))
    if scores:
        pieces.append(html.drawing(training_curves(scores, "score (1 is best)"), "Scores over training"))
    if any(len(set(values)) > 1 for _, values in rates.values()):
        pieces.append(html.drawing(training_curves(rates, "learning rate"), "Learning rate over training"))
    if len(run.curves.get("val/loss", ([], []))[0]) == 1:
        pieces.append(html.paragraph("Validation was run once: trainer.check_val_every_n_epoch sets how often."))
    missing = "The run has no curves: TensorBoard (`--trainer.logger true`, the default) or a CSVLogger writes them."
    return [html.side_by_side(pieces)] if pieces else [html.note(missing)]


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
    """Return the time and memory that training took."""
    cost = run.protocol.get("cost")
    if not cost:
        return [
            html.note("Time and memory are noted when training ends: this run was stopped, or made by an older dml.")
        ]
    times = {
        "training_seconds": "training, with its validations and checkpoints",
        "processor_seconds": "processor time in it, all threads",
    }
    rows = [[what, duration(cost[key])] for key, what in times.items() if cost.get(key) is not None]
    memory = {
        "peak_memory_bytes": "largest memory of the process",
        "peak_cuda_memory_bytes": "largest memory on the GPU",
    }
    rows += [[what, f"{cost[key] / 2**30:.2f} GiB"] for key, what in memory.items() if cost.get(key) is not None]
    rows.append(["device", str(run.protocol.get("device", "unknown"))])
    return [html.table([], rows)]


def _flat(values: Mapping[str, Any], path: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in values.items():
        name = f"{path}{key}".replace("_", " ")
        rows += _flat(value, f"{name}: ") if isinstance(value, dict) else [(name, str(value))]
    return rows


def duration(seconds: float) -> str:
    """Return seconds in a readable form.

    Example:
        >>> duration(9.25), duration(75.5)
        ('9.2 s', '1 min 16 s')
    """
    minutes, rest = divmod(seconds, 60)
    return f"{rest:.1f} s" if not minutes else f"{minutes:.0f} min {rest:.0f} s"
