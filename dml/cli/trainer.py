"""Builds trainer, module and data from a recipe: the only file that builds LightningCLI."""

import argparse
import shutil
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from dml.callbacks import (
    CollapseWatch,
    Collector,
    GracefulInterrupt,
    KNNEvaluation,
    NeighborRecord,
    Pictures,
    RandomState,
    Reconstructions,
    RunFolder,
    run_checkpoints,
)
from dml.cli.guards import check_checkpoint, quiet, user_errors
from dml.cli.messages import one_line
from dml.data import ImageData, LabelledData
from dml.embeddings import EmbeddingSet
from dml.errors import UserError
from dml.modules import ClassifierModule
from dml.modules.base import TrainableModule
from dml.runs import CHECKPOINTS, find_checkpoint, write_arrays

_DEFAULTS = {"max_epochs": 30, "num_sanity_val_steps": 0, "log_every_n_steps": 10, "enable_model_summary": False}


class TrainerCLI(LightningCLI):
    """Trainer, module and data of one recipe.

    Args:
        keys: The recipe: `--config FILE` and `--KEY VALUE`.
        run: The folder a training run writes, which must not exist yet unless it is resumed; None writes nothing.

    Raises:
        UserError: A key is unknown, a value has the wrong type, a class cannot be found.
    """

    def __init__(self, keys: Sequence[str], run: Path | None) -> None:
        self.run = run
        self._run_is_new = run is not None and not run.exists()
        self._runs_dir_is_new = run is not None and not run.parent.exists()
        self._other_data = names_data_class(keys)
        quiet()
        with user_errors():
            super().__init__(
                model_class=TrainableModule,
                datamodule_class=LabelledData if self._other_data else ImageData,
                subclass_mode_model=True,
                subclass_mode_data=self._other_data,
                save_config_callback=None,
                trainer_defaults=_DEFAULTS,
                seed_everything_default=0,
                parser_kwargs={"prog": "dml", "exit_on_error": False},
                args=list(keys),
                run=False,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,  # the recipe is config.yaml, the checkpoint is weights and state
            )

    @property
    def rehearsal(self) -> bool:
        """Whether a few batches are run to try the recipe out, and nothing is kept."""
        return bool(self.config.trainer.fast_dev_run)

    def fit(self, checkpoint: Path | None) -> bool:
        """Train from a checkpoint or from the start, then score the best; return False where Ctrl-C ended it."""
        with user_errors():
            check_checkpoint(checkpoint)
            try:
                self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=checkpoint, weights_only=True)
            except SystemExit as stop:  # Lightning's answer to Ctrl-C
                if not self.interrupt.saved:
                    raise KeyboardInterrupt from stop
                return False
            finally:
                self._leave_no_empty_run()
            if not self.rehearsal:
                assert self.run is not None
                self.score("val", find_checkpoint(self.run, "best"))
        return True

    def score(self, split: Literal["val", "test"], checkpoint: Path | None) -> None:
        """Score the images of a split by a checkpoint's weights, or by those the recipe starts with."""
        verb = self.trainer.validate if split == "val" else self.trainer.test
        with user_errors():
            check_checkpoint(checkpoint)
            weights: dict[str, Any] = {} if checkpoint is None else {"ckpt_path": checkpoint, "weights_only": True}
            try:
                verb(self.model, datamodule=self.datamodule, verbose=False, **weights)
            except SystemExit as stop:  # Lightning's answer to Ctrl-C
                raise KeyboardInterrupt from stop

    def predict(self, checkpoint: Path | None, output: Path) -> tuple[int, ...]:
        """Write what the model gives for every sample of the source to a NumPy archive; return its shape."""
        with user_errors():
            check_checkpoint(checkpoint)
            parts: Any = self.trainer.predict(
                self.model, datamodule=self.datamodule, ckpt_path=checkpoint, weights_only=True if checkpoint else None
            )
        collector = Collector()
        for values, batch in zip(parts, self.datamodule.predict_dataloader(), strict=True):
            collector.add(values, batch)
        rows = collector.collect(self.model.device)
        names, class_names = self.datamodule.names_of(rows.ids), self.datamodule.class_names
        if not self.trainer.is_global_zero:
            return rows.embeddings.shape
        if isinstance(self.model, ClassifierModule):
            own = {"labels": rows.labels, "ids": rows.ids, "names": names, "class_names": class_names}
            write_arrays(output, {"probabilities": rows.embeddings, **own})
        else:
            EmbeddingSet(rows.embeddings, rows.labels, rows.ids, names, class_names).save(output)
        return rows.embeddings.shape

    def scores(self, split: str) -> dict[str, dict[str, float]]:
        """Return the latest scores of a split, and of the references where they were scored."""
        metrics = self.trainer.callback_metrics
        sections: dict[str, dict[str, float]] = {split: {}, "train": {}}
        for key, value in metrics.items():
            section, _, score = key.partition("/")
            if section == split or key == "train/knn_accuracy":
                sections[section][score] = float(value)
        return {name: section for name, section in sections.items() if section}

    def _leave_no_empty_run(self) -> None:
        """Remove a run that failed before its first checkpoint."""
        if self.run is not None and self.trainer.is_global_zero and not (self.run / CHECKPOINTS / "last.ckpt").exists():
            if self._run_is_new:
                shutil.rmtree(self.run, ignore_errors=True)
            with suppress(OSError):  # it holds other runs
                if self._runs_dir_is_new:
                    self.run.parent.rmdir()

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the keys beside trainer, model and data."""
        parser.add_lightning_class_args(KNNEvaluation, "evaluation")
        parser.add_lightning_class_args(Pictures, "pictures")
        parser.add_argument(
            "--checkpoint.monitor",
            type=str | None,
            help="score the best checkpoint is chosen by; none: the last is taken",
        )
        parser.add_argument("--checkpoint.mode", type=Literal["min", "max"] | None, help="whether more of it is better")
        parser.add_argument("--help_all", action="help", default=argparse.SUPPRESS, help="show every key")
        if not self._other_data:
            parser.link_arguments("seed_everything", "data.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the given arguments and no others."""
        keys = [option.removeprefix("--") for action in parser._actions for option in action.option_strings]
        try:
            self.config = parser.parse_args(args)
        except argparse.ArgumentError as error:
            raise UserError(one_line(str(error), keys)) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with our callbacks, and TensorBoard unless another logger is named."""
        keys = self.config_init["trainer"]
        self.evaluation: KNNEvaluation = self.config_init["evaluation"]
        ours: list[Callback] = [CollapseWatch(), Reconstructions()]
        if self.rehearsal:
            self.run = None
        if self.run is None:
            kwargs |= {"logger": False, "enable_checkpointing": False}
        else:
            ours += self._run_callbacks(self.run)
            if keys["logger"] in {None, True}:
                kwargs["logger"] = TensorBoardLogger(self.run, name="", version="")
            if keys["logger"] is not False:
                ours.append(LearningRateMonitor())
        quiet()  # last: importing what a recipe names may undo it
        return super().instantiate_trainer(callbacks=[*(keys["callbacks"] or []), *ours], **kwargs)

    def _run_callbacks(self, run: Path) -> list[Callback]:
        monitor = self.config.checkpoint.monitor or self.model.monitor
        monitor = None if monitor == "none" else monitor
        mode = self.config.checkpoint.mode or self.model.monitor_mode
        self.interrupt = GracefulInterrupt(run / CHECKPOINTS / "last.ckpt")
        self.best, last = run_checkpoints(run, monitor, mode)
        recipe = self.parser.dump(self.config, skip_unset=False)
        folder = RunFolder(
            run, recipe, seed=int(self.config.seed_everything), monitor=monitor, metric=self.evaluation.metric
        )
        return [folder, NeighborRecord(run), RandomState(), self.interrupt, self.best, last]


def names_data_class(keys: Sequence[str]) -> bool:
    """Tell whether a recipe names the class of its data, which is `ImageData` otherwise.

    Args:
        keys: `--config FILE` and `--KEY VALUE`.

    Example:
        >>> names_data_class(["--data", "texts.TextData"]), names_data_class(["--data.root", "photos"])
        (True, False)
    """
    named = ("--data=", "--data.class_path")
    if any(word == "--data" or word.startswith(named) for word in keys):
        return True
    files = [value for word, value in pairwise(keys) if word == "--config"]
    return any(_names_data_class(Path(file)) for file in files)


def _names_data_class(file: Path) -> bool:
    try:
        recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False  # the parser tells what is wrong with the file
    data = recipe.get("data") if isinstance(recipe, dict) else None
    return isinstance(data, str) or (isinstance(data, dict) and "class_path" in data)
