"""The trainer verbs' own options, which name files; other keys are passed on to the recipe. No torch here."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from dml import runs
from dml.cli.recipe.nested import nest_classes
from dml.cli.recipe.replaced import without_replaced
from dml.errors import UserError

DEFAULT = Path(__file__).parents[1] / "default.yaml"

KEYS = """keys of the recipe, each given as --KEY VALUE or in a YAML file:
  --seed_everything N             seed of the split, the weights, the batches and the transform
  --trainer.max_epochs N          and every other argument of lightning's Trainer: devices, precision, logger ...
  --data.root PATH                a folder of class folders, a zip of one, a CSV/Parquet manifest, .npz, .lance
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
  --help_all                      every key, with its type and default (loads torch: takes some seconds)
  --print_config                  the complete recipe, to save as a YAML file"""


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
    add_config(parser)
    parser.add_argument("--runs_dir", default="runs", metavar="DIR", help="the folder of all runs (runs)")
    add_trust(parser)
    return parser


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config`: a file, or the name of a recipe that comes with dml.

    Example:
        >>> parser = Parser(prog="dml fit")
        >>> add_config(parser)
        >>> Path(parser.parse_args(["--config", "digits/softmax"]).config[0]).name
        'softmax.yaml'
    """
    told = "a recipe: a file, or a name of `dml list recipes`; later ones win"
    parser.add_argument("-c", "--config", action="append", type=runs.recipe_file, default=[], metavar="FILE", help=told)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add `--trust`, for the help: `dml.cli.main` reads it before any verb does.

    Example:
        >>> parser = Parser(prog="dml fit")
        >>> add_trust(parser)
        >>> parser.parse_args(["--trust", "mine"]).trust
        ['mine']
    """
    told = "a module whose classes recipes may name; may be repeated (see SECURITY.md)"
    parser.add_argument("--trust", action="append", default=[], metavar="MODULE", help=told)


def as_keys(configs: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Return recipe files and keys as one list of arguments, files first, so that keys win over files.

    `--data.split.val` and the like, where nothing names a split, are arguments of the default split.

    Raises:
        UserError: A file cannot be read as a recipe, or a value is YAML that refers to itself.

    Example:
        >>> as_keys([], ["--seed_everything", "1", "--data.split.val=0.1"])
        ['--seed_everything', '1', '--data.split=dml.data.DefaultSplit', '--data.split.val=0.1']
    """
    recipes = [runs.read_recipe_file(config) for config in configs]
    for number, key in enumerate(keys):
        check_aliases(key)
        if key.endswith(".help") and (number + 1 == len(keys) or keys[number + 1].startswith("--")):
            tell_choices(key.removesuffix(".help"))
    files = [word for config in configs for word in ("--config", without_replaced(config, keys))]
    return [*files, *with_split(nest_classes(keys), [recipe.get("data") for recipe in recipes])]


def tell_choices(key: str) -> None:
    """Print what `dml list` shows for a key and end the command; a key without a list is left to the parser.

    Raises:
        SystemExit: With code 0, after the list.

    Example:
        >>> tell_choices("--trainer.logger")
    """
    from dml.cli.choices import told
    from dml.cli.recipe.suggestions import kind_of

    if kind := kind_of(key):
        print(told(kind))
        raise SystemExit(0)


def check_aliases(word: str) -> None:
    """Refuse YAML, given as a value or a file, that refers to itself or grows beyond bounds.

    Raises:
        UserError: It does.

    Example:
        >>> check_aliases("--data.root=&a [*a]")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: --data.root refers to itself (YAML alias): write the value out
    """
    name, _, value = word.partition("=") if word.startswith("--") else ("the value", "", word)
    if value.endswith((".yaml", ".yml")) and "\n" not in value and Path(value).is_file():  # a block from a file
        runs.read_yaml(value)
    if "&" in value and "*" in value:
        try:
            runs.parse_yaml(value, name)
        except UserError as error:
            if "not valid YAML" not in str(error):  # text, then
                raise


def with_split(keys: Sequence[str], blocks: Sequence[object]) -> list[str]:
    """Return keys with the default split named before its arguments, if neither a key nor a recipe names a split.

    Args:
        keys: `--KEY VALUE`.
        blocks: The `data:` of each recipe.

    Example:
        >>> with_split(["--data.split.val", "0.1"], [{"split": "dml.data.OfficialSplit"}])
        ['--data.split.val', '0.1']
    """
    named = any(isinstance(block, dict) and isinstance(block.get("split"), dict | str) for block in blocks)
    names = [key.partition("=")[0] for key in keys]
    first = next((place for place, name in enumerate(names) if name.startswith("--data.split.")), None)
    if first is None or named or {"--data.split", "--data.split.class_path", "--data", "--data.class_path"} & {*names}:
        return list(keys)
    return [*keys[:first], "--data.split=dml.data.DefaultSplit", *keys[first:]]


def with_default(configs: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Return recipe files, with the default recipe first if nothing names a model.

    Raises:
        UserError: A file cannot be read as a recipe.

    Example:
        >>> Path(with_default([], ["--data.root", "photos"])[0]).name
        'default.yaml'
        >>> with_default([], ["--model", "dml.modules.ClassifierModule"])
        []
    """
    named = any(key == "--model" or key.startswith("--model=") for key in keys)
    named = named or any("model" in runs.read_recipe_file(config) for config in configs)
    return list(configs) if named else [str(DEFAULT), *configs]


def scored_parser(verb: str, description: str) -> Parser:
    """Return the parser of a verb that needs trained weights.

    Example:
        >>> scored_parser("test", "").parse_args(["--run", "first"]).run
        'first'
    """
    parser = trainer_parser(verb, description)
    parser.add_argument("--run", help="a run's folder or name (the latest run; none if --config is given)")
    parser.add_argument("--ckpt_path", default="best", metavar="FILE", help="best, last, or a checkpoint file (best)")
    return parser


def find_recipe(options: argparse.Namespace) -> tuple[Path | None, Path | None, list[str]]:
    """Return run, checkpoint and recipes that `scored_parser`'s options mean, reduced to what scoring needs.

    Raises:
        UserError: There is no such run or checkpoint, or a recipe cannot be read.

    Example:
        >>> options = scored_parser("validate", "").parse_args(["--config", "configs/digits/softmax.yaml"])
        >>> run, checkpoint, configs = find_recipe(options)
        >>> run, checkpoint, "SGD" in configs[0]
        (None, None, False)
    """
    run = None if options.run is None and options.config else runs.find_run(options.run or "latest", options.runs_dir)
    given = [to_score(config) for config in options.config]
    configs = with_default(given, []) if run is None else [runs.recipe_text(runs.read_to_score(run)), *given]
    if options.ckpt_path in {"best", "last"}:
        return run, None if run is None else runs.find_checkpoint(run, options.ckpt_path), configs
    checkpoint = Path(options.ckpt_path)
    if not checkpoint.is_file():
        raise UserError(f"no checkpoint {checkpoint}: give a file, or `best` or `last` of a run")
    return run, checkpoint, configs


def to_score(config: str) -> str:
    """Return the text of a recipe file, reduced to what scoring needs.

    Raises:
        UserError: It cannot be read as a recipe.
    """
    return runs.recipe_text(runs.to_score(runs.read_recipe_file(config)))
