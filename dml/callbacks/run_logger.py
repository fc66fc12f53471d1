"""Writes a run's TensorBoard events: curves over optimiser steps, the recipe as TEXT and HPARAMS, the best scores."""

import io
import json
import time
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, final

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import hparams, text

from dml import runs
from dml.reports.recipe_keys import flat_recipe

RECIPE_EVENTS = "events.out.tfevents.0.recipe"  # sorts before the curves: TensorBoard's reader does not come back to it
BEST = "best"  # the group of the best checkpoint's scores, which sorts first: on HPARAMS, too
_TOLD = ("knn_accuracy", "recall_at_1", "map_at_r", "accuracy", "mse", "loss")
_PLUMBING = ("trainer.", "pictures.", "checkpoint.", "evaluation.max_memory", "evaluation.baselines")
_OF_TRAINER = ("max_epochs", "max_steps", "max_time", "precision", "gradient_clip_val", "accumulate_grad_batches")


@final
class RunLogger(TensorBoardLogger):
    """Write a run's curves over the number of optimiser steps taken, and its recipe once, however often it resumes.

    What training logs is placed at the steps taken so far; the epoch is left out, and learning rates go under `train/`.
    What is logged after training belongs to the best checkpoint: the main scores go under `best/`, apart from the
    curves, where HPARAMS finds them.

    Args:
        run: The run folder.

    Example:
        >>> RunLogger(Path("runs/first")).save_dir
        'runs/first'
    """

    def __init__(self, run: Path) -> None:
        super().__init__(run, name="", version="", default_hp_metric=False)
        self._run = run
        self._trainer: Trainer | None = None

    def follow(self, trainer: Trainer) -> None:
        """Take the steps from this trainer from now on."""
        self._trainer = trainer

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers at the optimiser steps taken; without a trainer to follow at the given step."""
        kept = {name: value for name, value in metrics.items() if name != "epoch"}
        if self._trainer is not None:
            step = self._trainer.global_step
            if self._trainer.state.fn != "fit":
                kept = {f"{BEST}/{name}": kept[f"val/{name}"] for name in _TOLD if f"val/{name}" in kept}
        kept = {f"train/{name}" if name.startswith("lr-") else name: value for name, value in kept.items()}
        if kept:
            super().log_metrics(kept, step)

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, metrics: dict[str, Any] | None = None, step: int | None = None
    ) -> None:
        """Write the recipe as TEXT and its informative keys as HPARAMS, replacing those of an earlier start."""
        recipe = vars(params) if isinstance(params, Namespace) else params
        if not recipe:
            return
        lines = runs.recipe_text(recipe).splitlines()
        told = text("recipe", "\n".join(f"    {line}" for line in lines))  # indented: Markdown's code
        _, session, _ = hparams(telling_keys(recipe), {})  # no list of metrics: the first run's would hide the others'
        runs.write_bytes(self._run / RECIPE_EVENTS, _events([session, told]))

    @rank_zero_only
    def save(self) -> None:
        """Write what was logged; the recipe is in config.yaml already."""
        self.experiment.flush()


def telling_keys(recipe: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Return the keys of a recipe that say what is learnt, from what and how, without those that have no value.

    Args:
        recipe: As `config.yaml` holds it.

    Example:
        >>> loss = {"class_path": "dml.losses.TripletLoss", "init_args": {"margin": 0.5}}
        >>> telling_keys({"model": {"loss": loss, "miner": None}, "trainer": {"max_epochs": 3, "logger": True}})
        {'model.loss': 'TripletLoss', 'model.loss.margin': 0.5, 'trainer.max_epochs': 3}
    """
    kept = tuple(f"trainer.{name}" for name in _OF_TRAINER)
    return {
        key: value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
        for key, value in flat_recipe(recipe).items()
        if value is not None and (key in kept or not key.startswith(_PLUMBING))
    }


def _events(summaries: Iterable[Summary]) -> bytes:
    """Return the content of an event file."""
    buffer, now = io.BytesIO(), time.time()
    writer = RecordWriter(buffer)
    writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    for summary in summaries:
        writer.write(Event(wall_time=now, step=0, summary=summary).SerializeToString())
    return buffer.getvalue()
