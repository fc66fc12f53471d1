"""What verbs that use a run's embeddings of its validation images share: their options, and the embedding."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dml.cli.shared.options import Parser, as_keys, find_recipe, trainer_parser
from dml.errors import UserError

if TYPE_CHECKING:  # importing it loads torch, which --help must not
    from dml.cli.trainer import TrainerCLI
    from dml.embeddings import EmbeddingSet


def run_parser(verb: str, description: str) -> Parser:
    """Return the parser of a verb that takes one run, and keys of its recipe.

    Example:
        >>> run_parser("calibrate", "").parse_args(["first"]).run
        'first'
    """
    parser = trainer_parser(verb, description)
    parser.add_argument("run", metavar="RUN", help="a run's folder or name, or `latest`")
    parser.add_argument("--ckpt_path", default="best", metavar="FILE", help="best, last, or a checkpoint file (best)")
    return parser


def embed_run(options: argparse.Namespace, keys: list[str]) -> "tuple[Path, TrainerCLI, EmbeddingSet, EmbeddingSet]":
    """Return the run, what embedded it, and its validation images' embeddings as queries and references.

    Args:
        options: Of `run_parser`.
        keys: `--KEY VALUE` of the recipe.

    Raises:
        UserError: There is no such run or checkpoint, or its model gives no embeddings.
    """
    run, checkpoint, configs = find_recipe(options)

    from dml.cli.trainer import TrainerCLI

    cli = TrainerCLI([*as_keys(configs, keys), "--evaluation.retrieval=false"], None)
    cli.score("val", checkpoint)
    if run is None or cli.evaluation.queries is None or cli.evaluation.references is None:
        raise UserError("this run's model gives no embeddings: choose a run of an EmbeddingModule")
    return run, cli, cli.evaluation.queries, cli.evaluation.references


def is_own(options: argparse.Namespace, keys: list[str]) -> bool:
    """Tell whether the run's own recipe and best weights were asked for.

    Example:
        >>> is_own(run_parser("calibrate", "").parse_args(["first"]), ["--data.root", "others"])
        False
    """
    return not (keys or options.config or options.ckpt_path != "best")
