"""Probes an encoder: a table of cells (encoder, method, labels, seed), each trained by its own recipe.

A cell is recorded when it has ended; a second call runs what is missing.
"""

import copy
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import yaml

from dml import runs
from dml.encoders import Encoder, WrappedEncoder, encoder_hash, pretrained_encoder
from dml.errors import UserError
from dml.experiments.jobs import JobError, Start, run_fit, run_job
from dml.experiments.probe_data import Counts, ProbeData, labelled_keys, open_data

FOLDER = "probe"
METHODS = ("knn", "linear", "mlp", "finetune")
ENCODERS = ("trained", "random")  # a random encoder that is fine-tuned is training from scratch

Labelled = int | float  # images of each class, or a share of each

# The pictures of a cell go with its folder; not of the recipe that names the cell, as recorded ones keep their names.
_UNSEEN = {"pictures": {"projection": "none", "gallery_queries": 1, "gallery_neighbors": 1}}


class Cell(NamedTuple):
    """One training, or one k-NN search."""

    encoder: str
    method: str
    labelled: Labelled
    seed: int

    @property
    def row(self) -> str:
        """The name of its row in the table."""
        if self.method == "finetune":
            return "fine-tuned" if self.encoder == "trained" else "from scratch"
        return f"{self.method}, {'random encoder' if self.encoder == 'random' else 'frozen'}"


@final
@dataclass(frozen=True)
class Settings:
    """What all cells share.

    Attributes:
        steps: training steps of a cell, rounded up to whole epochs.
        batch_size: images per step.
        lr: of heads, and of encoders trained from scratch (AdamW).
        encoder_lr: of the trained encoder while it is fine-tuned.
        hidden: width of the MLP head's hidden layer.
        k: neighbours that vote; 1 where a class has fewer labelled images than that.
    """

    steps: int = 300
    batch_size: int = 128
    lr: float = 1e-3
    encoder_lr: float = 1e-4
    hidden: int = 128
    k: int = 5


@final
class Probe:
    """The probes of one run.

    Args:
        run: The run's folder.
        settings: What all cells share.
        keys: `--KEY VALUE` words handed on to every cell: `--data.root`, `--trainer.accelerator` ...

    Raises:
        UserError: The run is incomplete, or has no encoder.
    """

    def __init__(self, run: Path, settings: Settings, keys: Sequence[str]) -> None:
        self.run = run.resolve()
        self.settings = settings
        self.keys = list(keys)
        recipe = runs.read_recipe(run)
        encoder = pretrained_encoder(str(self.run))  # tells an incomplete run before anything runs
        self.identity = encoder_hash(encoder)
        self.data: ProbeData = open_data(recipe, keys)
        self.random = _untrained(recipe["model"]["init_args"]["encoder"], _image_size(encoder))
        self.path = self.run / FOLDER / "probe.json"
        self.records: dict[str, dict[str, Any]] = runs.read_json(self.path)["cells"] if self.path.exists() else {}

    def key(self, cell: Cell) -> str:
        """Name a cell by everything that decides its result."""
        recipe = self.recipe(cell, self.data.counts(cell.labelled, cell.seed))
        exact = json.dumps([self.identity, recipe, self.keys], sort_keys=True, default=str)
        return f"{cell.row}, {cell.labelled}, {cell.seed} {hashlib.sha256(exact.encode()).hexdigest()[:12]}"

    def accuracy(self, cell: Cell) -> float | None:
        """Return what a cell scored, or None if it has not run."""
        record = self.records.get(self.key(cell))
        return None if record is None else float(record["accuracy"])

    def run_cell(self, cell: Cell, start: Start) -> None:
        """Run one cell and record it.

        Raises:
            UserError: It failed; the message says where its output is.
        """
        counts = self.data.counts(cell.labelled, cell.seed)
        folder, log = self.run / FOLDER / "cell", self.run / FOLDER / "log.txt"
        shutil.rmtree(folder, ignore_errors=True)
        recipe, run = folder / "recipe.yaml", folder / "run"
        runs.write_bytes(recipe, yaml.safe_dump(self.recipe(cell, counts) | _UNSEEN).encode())
        words, scores = ["--config", str(recipe), *self.keys], run / runs.SCORES
        try:
            if cell.method == "knn":
                run_job(["validate", *words, "--output", str(scores)], log, start)
            else:
                run_fit(run, words, log, start)
        except JobError as error:
            raise UserError(f"{cell.row} at {cell.labelled} labels failed: {error} (log: {log})") from error
        score = runs.read_json(scores)["val"]["knn_accuracy" if cell.method == "knn" else "accuracy"]
        record = {**cell._asdict(), "images": counts.images, "accuracy": score}
        self.records[self.key(cell)] = record
        runs.write_json(self.path, {"encoder": self.identity, "cells": self.records})
        shutil.rmtree(folder, ignore_errors=True)

    def recipe(self, cell: Cell, counts: Counts) -> dict[str, Any]:
        """Return the recipe of a cell."""
        settings, moving = self.settings, cell.method == "finetune"
        batch_size = settings.batch_size
        while counts.images > 1 == counts.images % batch_size:  # BatchNorm cannot take a batch of one image
            batch_size += 1
        epochs = max(1, -(-settings.steps // -(-counts.images // batch_size)))
        data = {**self.data.block, **labelled_keys(cell.labelled), "batch_size": batch_size}
        if not moving:
            data["transform"] = None  # a frozen encoder is then run once
        k = settings.k if counts.smallest_class >= settings.k else 1
        return {
            "seed_everything": cell.seed,
            "trainer": {
                "max_epochs": epochs,
                "check_val_every_n_epoch": epochs,
                "logger": False,
                "enable_progress_bar": False,
            },
            "model": self._model(cell),
            "data": data,
            "evaluation": {"k": k, "baselines": False, "retrieval": cell.method == "knn"},
            "pictures": {"projection": "none"},
            "checkpoint": {"monitor": "none"},
        }

    def _model(self, cell: Cell) -> dict[str, Any]:
        trained = {"class_path": "dml.encoders.pretrained_encoder", "init_args": {"run": str(self.run)}}
        encoder = trained if cell.encoder == "trained" else self.random
        if cell.method == "knn":
            loss = {"class_path": "dml.losses.PullLoss"}
            return {"class_path": "dml.modules.EmbeddingModule", "init_args": {"encoder": encoder, "loss": loss}}
        moving = cell.method == "finetune"
        size = {"num_classes": self.data.num_classes, "batch_norm": True}  # else a small embedding would not be read
        head = {"class_path": "dml.heads.LinearHead", "init_args": size}
        if cell.method == "mlp":
            hidden = {"hidden_sizes": [self.settings.hidden]}
            head = {"class_path": "dml.heads.MLPHead", "init_args": size | hidden}
        arguments = {"encoder": encoder, "head": head, "freeze_encoder": not moving}
        arguments["optimizer"] = {"class_path": "torch.optim.AdamW", "init_args": {"lr": self.settings.lr}}
        if moving and cell.encoder == "trained":
            arguments["encoder_lr"] = self.settings.encoder_lr
        return {"class_path": "dml.modules.ClassifierModule", "init_args": arguments}


def cells_of(methods: Sequence[str], labelled: Sequence[Labelled], seeds: Sequence[int]) -> list[Cell]:
    """Return the cells of a table, those of one label count together.

    Example:
        >>> [cell.row for cell in cells_of(["linear", "finetune"], [0.1], [0])]
        ['linear, frozen', 'linear, random encoder', 'fine-tuned', 'from scratch']
    """
    return [
        Cell(encoder, method, amount, seed)
        for amount in labelled
        for seed in seeds
        for method in methods
        for encoder in ENCODERS
    ]


def run_probe(probe: Probe, cells: Sequence[Cell], start: Start, tell: Callable[[Cell, float], None]) -> Iterator[Cell]:
    """Run the cells that are not recorded, one after another, and yield each when it ends.

    Args:
        probe: Of the run.
        cells: Of the table.
        start: Runs `dml` with these words and gives its exit code.
        tell: Called with each cell and its accuracy.

    Raises:
        UserError: There are fewer labels than a cell asks for (told before any cell runs), a cell failed, or another
            process is at work.
    """
    for cell in cells:
        probe.data.counts(cell.labelled, cell.seed)
    with runs.held(probe.run / FOLDER):  # cells share a folder to work in
        for cell in cells:
            if probe.accuracy(cell) is None:
                probe.run_cell(cell, start)
                accuracy = probe.accuracy(cell)
                assert accuracy is not None
                tell(cell, accuracy)
                yield cell


def table_of(probe: Probe, cells: Sequence[Cell]) -> dict[str, dict[Labelled, list[float]]]:
    """Return the accuracies by row and labels, one per seed."""
    table: dict[str, dict[Labelled, list[float]]] = {}
    for cell in cells:
        accuracy = probe.accuracy(cell)
        if accuracy is not None:
            table.setdefault(cell.row, {}).setdefault(cell.labelled, []).append(accuracy)
    return table


def csv_of(probe: Probe, cells: Sequence[Cell]) -> str:
    """Return the recorded cells as CSV, one per line."""
    lines = ["row,encoder,method,labelled,seed,images,accuracy"]
    for cell in cells:
        record: Mapping[str, Any] | None = probe.records.get(probe.key(cell))
        if record is not None:
            words = (f'"{cell.row}"', *map(str, cell), str(record["images"]), f"{record['accuracy']:.6f}")
            lines.append(",".join(words))
    return "\n".join(lines) + "\n"


def _image_size(encoder: Encoder) -> int | None:
    """Return the side that an encoder, or the one within it, resizes images to."""
    sizes = [part.image_size for part in encoder.modules() if isinstance(part, WrappedEncoder)]
    return sizes[0] if sizes else None


def _untrained(block: Any, image_size: int | None) -> Any:
    """Return an encoder's block without the weights it started from, but with the image size they chose."""
    block = {"class_path": block} if isinstance(block, str) else copy.deepcopy(block)
    arguments = block.get("init_args") or {}
    if block["class_path"].endswith("pretrained_encoder"):
        source = runs.find_run(arguments["run"], arguments.get("runs_dir", "runs"))
        recipe = runs.read_recipe(source)
        return _untrained(recipe["model"]["init_args"]["encoder"], image_size)
    if arguments.get("encoder") is not None:  # of one encoder around another
        arguments["encoder"] = _untrained(arguments["encoder"], image_size)
    if arguments.get("weights") is not None:
        arguments |= {"weights": None} | ({"image_size": image_size} if "image_size" in arguments else {})
    return block
