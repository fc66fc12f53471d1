"""Reads a run's curves from what its logger wrote: TensorBoard events, or a CSV file of metrics."""

import csv
import io
import math
from pathlib import Path

from dml import runs

Curve = tuple[list[int], list[float]]  # steps, values


def read_curves(run: Path) -> dict[str, Curve]:
    r"""Return every logged number over training by its name; empty where nothing was logged.

    TensorBoard's events are read if there are any, else the newest `metrics.csv` of Lightning's CSVLogger.

    Args:
        run: The run folder.

    Example:
        >>> import tempfile
        >>> run = Path(tempfile.mkdtemp())
        >>> _ = (run / "metrics.csv").write_text("step,train/loss,val/loss\n1,0.5,\n2,,0.25\n")
        >>> read_curves(run)
        {'train/loss': ([1], [0.5]), 'val/loss': ([2], [0.25])}
    """
    if any(run.glob("events.out.tfevents.*")):
        return _read_events(run)
    tables = sorted(run.rglob("metrics.csv"), key=lambda path: path.stat().st_mtime)
    return _read_table(tables[-1]) if tables else {}


def _read_events(run: Path) -> dict[str, Curve]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sizes = {"scalars": 0, "images": 1, "histograms": 1, "compressedHistograms": 1, "tensors": 1}  # 0 keeps all
    files = sorted(run.glob("events.out.tfevents.*"), key=lambda file: file.stat().st_mtime)
    for file in files:
        runs.open_file(file).close()  # a pipe would wait
    read = [EventAccumulator(str(file), size_guidance=sizes).Reload() for file in files]
    # the best checkpoint is scored once more at the end, at the last step, which is not where it was taken
    training = [events for events in read if any(map(_of_training, events.Tags()["scalars"]))] or read
    points: dict[str, dict[int, float]] = {}
    for events in training:
        for name in events.Tags()["scalars"]:  # a resumed run may repeat steps: the later count
            points.setdefault(name, {}).update({event.step: event.value for event in events.Scalars(name)})
    return {name: (sorted(found), [found[step] for step in sorted(found)]) for name, found in points.items()}


def _of_training(name: str) -> bool:
    return name == "train/loss" or name.removeprefix("train/").startswith("lr-")


def _read_table(path: Path) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    with io.TextIOWrapper(runs.open_file(path), encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for name, text in row.items():
                if text and name not in {"step", "epoch"} and math.isfinite(float(text)):
                    steps, values = curves.setdefault(name, ([], []))
                    steps.append(int(row["step"]))
                    values.append(float(text))
    return curves
