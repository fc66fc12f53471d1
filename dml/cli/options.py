"""The options of the trainer verbs that name files; other keys are handed on to the recipe. No torch here."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import yaml

from dml import runs
from dml.errors import UserError

DEFAULT = Path(__file__).with_name("default.yaml")

KEYS = """keys of the recipe, each given as --KEY VALUE or in a YAML file:
  --seed_everything N             seed of the split, the weights, the batches and the transform
  --trainer.max_epochs N          and every other argument of lightning's Trainer: devices, precision, logger ...
  --data.root PATH                a folder of class folders, a zip of one, or a CSV/Parquet manifest
  --data.image_size N             side the images are resized to
  --data.batch_size N             images per step
  --model CLASS_PATH              dml.modules.EmbeddingModule, ClassifierModule or AutoencoderModule
  --model.encoder CLASS_PATH      dml.encoders.ConvEncoder ...; its arguments: --model.encoder.embedding_dim 64
  --model.loss CLASS_PATH         dml.losses.TripletLoss, pytorch_metric_learning.losses.ProxyAnchorLoss, ...
  --model.loss.margin X           an argument of the loss; likewise for every object in the recipe
  --model.optimizer CLASS_PATH    torch.optim.AdamW ...; --model.optimizer.lr X
  --evaluation.k N                neighbours that vote in knn_accuracy
  --checkpoint.monitor KEY        the validation score the best checkpoint is chosen by
  --pictures.projection NAME      tsne, pca, umap or none
  --help_all                      every key there is, with its type and default (loads torch: some seconds)
  --print_config                  the complete recipe, to be kept as a YAML file"""


class Parser(argparse.ArgumentParser):
    """An argparse parser that reports a mistake as a `UserError`, in one line.

    Example:
        >>> Parser(prog="dml fit").parse_args(["--nmae", "first"])
        Traceback (most recent call last):
        ...
        dml.errors.UserError: unrecognized arguments: --nmae first (see `dml fit --help`)
    """

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and exiting."""
        raise UserError(f"{message} (see `{self.prog} --help`)")


def trainer_parser(verb: str, description: str) -> Parser:
    """Return the parser of a trainer verb's own options.

    Example:
        >>> options, keys = trainer_parser("fit", "").parse_known_args(["--runs_dir", "x", "--data.root", "photos"])
        >>> options.runs_dir, keys
        ('x', ['--data.root', 'photos'])
    """
    parser = Parser(
        prog=f"dml {verb}",
        description=description,
        epilog=KEYS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--config", action="append", default=[], metavar="FILE", help="a recipe; later ones win")
    parser.add_argument("--runs_dir", default="runs", metavar="DIR", help="the folder of all runs (runs)")
    return parser


def as_keys(configs: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Return recipe files and keys as one list of arguments, files first, so that keys win over files.

    Example:
        >>> as_keys(["a.yaml"], ["--seed_everything", "1"])
        ['--config', 'a.yaml', '--seed_everything', '1']
    """
    return [*(word for config in configs for word in ("--config", config)), *keys]


def with_default(configs: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Return recipe files with the default recipe before them where nothing names a model.

    Example:
        >>> Path(with_default([], ["--data.root", "photos"])[0]).name
        'default.yaml'
        >>> with_default([], ["--model", "dml.modules.ClassifierModule"])
        []
    """
    named = any(key == "--model" or key.startswith("--model=") for key in keys)
    return list(configs) if named or any(map(_names_model, configs)) else [str(DEFAULT), *configs]


def _names_model(config: str) -> bool:
    try:
        recipe = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return True  # the parser tells what is wrong with the file
    return not isinstance(recipe, dict) or "model" in recipe


def scored_parser(verb: str, description: str) -> Parser:
    """Return the parser of a verb that needs trained weights.

    Example:
        >>> scored_parser("test", "").parse_args(["--run", "first"]).run
        'first'
    """
    parser = trainer_parser(verb, description)
    parser.add_argument("--run", help="a run's folder or name (the latest run; none where --config is given)")
    parser.add_argument("--ckpt_path", default="best", metavar="FILE", help="best, last, or a checkpoint file (best)")
    return parser


def find_recipe(options: argparse.Namespace) -> tuple[Path | None, Path | None, list[str]]:
    """Return the run, the checkpoint and the recipe files that `scored_parser`'s options mean.

    Raises:
        UserError: There is no such run or checkpoint.

    Example:
        >>> options = scored_parser("validate", "").parse_args(["--config", "configs/pixels.yaml"])
        >>> find_recipe(options)
        (None, None, ['configs/pixels.yaml'])
    """
    run = None if options.run is None and options.config else runs.find_run(options.run or "latest", options.runs_dir)
    configs = with_default(options.config, []) if run is None else [runs.recipe_argument(run), *options.config]
    if options.ckpt_path in {"best", "last"}:
        return run, None if run is None else runs.find_checkpoint(run, options.ckpt_path), configs
    checkpoint = Path(options.ckpt_path)
    if not checkpoint.is_file():
        raise UserError(f"no checkpoint {checkpoint}: give a file, or `best` or `last` of a run")
    return run, checkpoint, configs
