"""Builds trainer, module and data from a recipe: the only file that builds LightningCLI."""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from jsonargparse import set_parsing_settings
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LambdaCallback, LearningRateMonitor
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from dml.callbacks import (
    Collector,
    GracefulInterrupt,
    KNNEvaluation,
    NeighborRecord,
    PeriodicCheckpoint,
    Pictures,
    RandomState,
    Reconstructions,
    RunFolder,
    RunLogger,
    TrainingWatch,
    run_checkpoints,
)
from dml.cli.recipe.messages import one_line
from dml.cli.recipe.monitors import check_monitors
from dml.cli.recipe.settings import check_settings
from dml.cli.recipe.sizes import fill_sizes
from dml.cli.running.emulation import warn_of_emulation
from dml.cli.running.finders import check_finders, drop_finders
from dml.cli.running.guards import check_checkpoint, check_recipe, construction, disk_errors, quiet, user_errors
from dml.cli.running.processes import lost_processes
from dml.cli.running.trial import trial_callbacks
from dml.cli.shared.scoring import record_scores
from dml.data import ImageData, LabelledData
from dml.embeddings import EmbeddingSet
from dml.errors import LostTrainingError, UserError
from dml.modules import ClassifierModule
from dml.modules.base import TrainableModule
from dml.modules.sync_batchnorm import SyncBatchNorm
from dml.runs import (
    CHECKPOINTS,
    CONFIG,
    PROTOCOL,
    SCORES,
    check_classes,
    find_checkpoint,
    guarded_imports,
    read_json,
    read_recipe_file,
    remember_trust,
    write_arrays,
    write_bytes,
    write_json,
)

_DEFAULTS = {"max_epochs": 30, "num_sanity_val_steps": 0, "log_every_n_steps": 10, "enable_model_summary": False}


class TrainerCLI(LightningCLI):
    """Trainer, module and data of one recipe.

    Args:
        keys: The recipe: `--config FILE` and `--KEY VALUE`.
        run: The folder a training run writes, which exists and is held; None writes nothing.

    Raises:
        UserError: A key is unknown, a value has the wrong type, a class cannot be found.
    """

    def __init__(self, keys: Sequence[str], run: Path | None) -> None:
        self.run = run
        self._other_data = names_data_class(keys)
        quiet()
        self.config: Any = None
        # the nested objects of losses that do not say their types; which classes these may be, `check_classes` says
        set_parsing_settings(instantiate_subclass_spec_in_any=True)
        with user_errors(), guarded_imports(), construction(lambda: self.config):
            super().__init__(
                model_class=TrainableModule,
                datamodule_class=LabelledData if self._other_data else ImageData,
                subclass_mode_model=True,
                subclass_mode_data=self._other_data,
                save_config_callback=None,
                trainer_defaults=_DEFAULTS,
                seed_everything_default=0,
                parser_kwargs={"prog": "dml", "exit_on_error": False, "allow_abbrev": False},
                args=list(keys),
                run=False,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,  # the recipe is config.yaml, the checkpoint is weights and state
            )
        warn_of_emulation(self.trainer)

    @property
    def rehearsal(self) -> bool:
        """Whether only a few batches are run, to try the recipe out, and nothing is kept."""
        return bool(self.config.trainer.fast_dev_run)

    def fit(self, checkpoint: Path | None) -> bool:
        """Train from a checkpoint or from the start, then score the best; return False if Ctrl-C ended it."""
        with user_errors(), disk_errors(self.run), lost_processes(self.run):
            self._check_limits("train", "val")
            check_checkpoint(checkpoint)
            check_recipe(self.recipe if self.run is not None else "")
            check_monitors(self.model, self.evaluation, self._monitors())
            check_finders(self.trainer, self.datamodule)
            self._write_recipe()
            try:
                self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=checkpoint, weights_only=True)
            except SystemExit as stop:  # Lightning's answer to Ctrl-C
                if not self.interrupt.saved:
                    raise KeyboardInterrupt from stop
                return False
            except LostTrainingError as error:
                kept = "" if self.run is None else f"; its curves are in {self.run}"
                if self.run is not None and (best := self.run / CHECKPOINTS / "best.ckpt").exists():
                    kept += f", {best} is from before"
                raise LostTrainingError(f"{error}{kept}") from error
            if not self.rehearsal:
                self.score("val", self._find_best())
        return True

    def score(self, split: Literal["val", "test"], checkpoint: Path | None) -> None:
        """Score the images of a split by a checkpoint's weights, or by those the recipe starts with."""
        verb = self.trainer.validate if split == "val" else self.trainer.test
        drop_finders(self.trainer)
        with user_errors():
            self._check_limits(split)
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
        """Return the latest scores of a split, and of the references if they were scored."""
        metrics = self.trainer.callback_metrics
        sections: dict[str, dict[str, float]] = {split: {}, "train": {}}
        for key, value in metrics.items():
            section, _, score = key.partition("/")
            if section == split or key == "train/knn_accuracy":
                sections[section][score] = float(value)
        return {name: section for name, section in sections.items() if section}

    def _monitors(self) -> dict[str, Any]:
        """Return the scores that the recipe monitors, by their keys."""
        callbacks = _listed(self.config_init["trainer"]["callbacks"])
        wanted = {f"{type(callback).__name__}.monitor": getattr(callback, "monitor", None) for callback in callbacks}
        wanted["model.lr_scheduler.monitor"] = self.config.get("model.init_args.lr_scheduler.init_args.monitor")
        return wanted | ({"checkpoint.monitor": self.best.monitor} if self.run is not None else {})

    def _check_limits(self, *parts: str) -> None:
        """Refuse settings that would leave a part of the data unused."""
        if self.rehearsal:
            return
        keys = [f"limit_{part}_batches" for part in parts] + (["max_epochs", "max_steps"] if "train" in parts else [])
        for key in keys:
            if self.config.trainer[key] == 0:
                never = {"val": "validated", "test": "tested"}.get(key.split("_")[1], "trained")
                raise UserError(f"trainer.{key} is 0, so nothing would be {never}: give more, or leave the key out")

    def _write_recipe(self) -> None:
        """Write the recipe into a new run before its data are read: one killed from now on can start over."""
        if self.run is not None and self.trainer.is_global_zero and not (self.run / CONFIG).exists():
            write_bytes(self.run / CONFIG, self.recipe.encode())
            remember_trust(self.recipe.encode())

    def _find_best(self) -> Path:
        """Return the best checkpoint; if training was never validated on the way, the last one."""
        folder = Path(str(self.best.dirpath))  # the first process's, where the run has no name
        if not self.best.best_model_path:
            if self.trainer.global_step == 0:
                raise UserError("nothing was trained: trainer.max_time was up before the first step; give more")
            for name in ("last", "best"):
                self.trainer.save_checkpoint(folder / f"{name}.ckpt")
            if self.trainer.is_global_zero:
                print("never validated while it was trained: the best checkpoint is the last")
                protocol = read_json(folder.parent / PROTOCOL)
                write_json(
                    folder.parent / PROTOCOL, protocol | {"best_checkpoint_chosen_by": "nothing: it is the last"}
                )
        return find_checkpoint(folder.parent, "best")

    def _record_scores(self, trainer: Trainer, module: TrainableModule) -> None:
        """Write the scores of the best checkpoint, before anything is drawn."""
        if self.run is not None and trainer.state.fn == "validate" and trainer.is_global_zero:
            record_scores(
                self.run / SCORES, "val", self, self.scores("val") | {"baselines": self.evaluation.compared()}
            )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the keys beside trainer, model and data."""
        parser.add_lightning_class_args(KNNEvaluation, "evaluation")
        parser.add_lightning_class_args(Pictures, "pictures")
        parser.add_argument(
            "--checkpoint.monitor",
            type=str | None,
            help="score that chooses the best checkpoint; none: the last one is used",
        )
        parser.add_argument(
            "--checkpoint.mode", type=Literal["min", "max"] | None, help="whether lower or higher is better"
        )
        parser.add_argument(
            "--checkpoint.every_n_steps", type=int | None, help="also write the last checkpoint after every N steps"
        )
        parser.add_argument("--checkpoint.every_minutes", type=float | None, help="also write it after every N minutes")
        parser.add_argument("--help_all", action="help", default=argparse.SUPPRESS, help="show every key")
        if not self._other_data:
            parser.link_arguments("seed_everything", "data.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the given arguments and no others."""
        keys = [option.removeprefix("--") for action in parser._actions for option in action.option_strings]
        keys += ["name", "runs_dir", "ckpt_path"]  # the verbs' own
        try:
            self.config = parser.parse_args(args)
        except argparse.ArgumentError as error:
            told = one_line(str(error), keys)  # data.seed is linked to it
            told = told.replace("data.seed", "seed_everything", 1) if told.startswith("data.seed:") else told
            raise UserError(told) from error
        check_classes(self.config)
        check_settings(self.config)

    def instantiate_classes(self) -> None:
        """Build data, module and trainer; a loss with proxies first gets the class count and the embedding's size."""
        counted = fill_sizes(self.config, self.parser)
        super().instantiate_classes()
        self.datamodule = counted or self.datamodule

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with our callbacks, and TensorBoard unless another logger is named."""
        keys = self.config_init["trainer"]
        self.evaluation: KNNEvaluation = self.config_init["evaluation"]
        ours: list[Callback] = [TrainingWatch(), Reconstructions()]
        if self.rehearsal:
            self.run = None
        if self.run is None:
            kwargs |= {"logger": False, "enable_checkpointing": False}
        else:
            ours += self._run_callbacks(self.run)
            if keys["logger"] in (None, True):
                kwargs["logger"] = RunLogger(self.run)
            if keys["logger"] is not False:
                ours.append(LearningRateMonitor())
        if keys["sync_batchnorm"]:  # Lightning's own works on GPUs alone
            kwargs |= {"plugins": [*_listed(keys["plugins"]), SyncBatchNorm()], "sync_batchnorm": False}
        quiet()  # last: importing what a recipe names may undo it
        return super().instantiate_trainer(callbacks=[*_listed(keys["callbacks"]), *ours], **kwargs)

    def _run_callbacks(self, run: Path) -> list[Callback]:
        monitor = self.config.checkpoint.monitor or self.model.monitor
        monitor = None if monitor == "none" else monitor
        mode = self.config.checkpoint.mode or self.model.monitor_mode
        file = run / CHECKPOINTS / "last.ckpt"
        every = self.config.checkpoint
        self.interrupt = GracefulInterrupt(file)
        periodic = PeriodicCheckpoint(file, every.every_n_steps, every.every_minutes)
        self.best, last = run_checkpoints(run, monitor, mode)
        self.recipe = self.parser.dump(self.config, skip_unset=False)
        folder = RunFolder(
            run, self.recipe, seed=int(self.config.seed_everything), monitor=monitor, metric=self.evaluation.metric
        )
        scores = LambdaCallback(on_validation_end=self._record_scores)  # first: before pictures
        trial = trial_callbacks()
        return [folder, scores, NeighborRecord(run), RandomState(), *trial, self.best, last, periodic, self.interrupt]


def _listed(value: Any) -> list[Any]:
    """Return a list from what Lightning accepts as one thing, several or none."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


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
    blocks = [read_recipe_file(file).get("data") for file in files]
    return any(isinstance(block, str) or (isinstance(block, dict) and "class_path" in block) for block in blocks)
