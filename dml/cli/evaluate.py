"""`dml evaluate`: score a run, any recipe's untrained encoder, or embeddings from files; writes `scores.json`."""

import argparse
import json
from pathlib import Path
from typing import Any

from dml import runs
from dml.cli.shared.embedding_files import read_sets
from dml.cli.shared.json_output import add_json, json_alone
from dml.cli.shared.numbers import memory, wholes
from dml.cli.shared.options import Parser, as_keys, find_recipe, scored_parser, to_score, with_default
from dml.cli.shared.scoring import record_evaluation, record_scores, record_test_reading
from dml.cli.shared.told_scores import tell_recorded, tell_scores
from dml.errors import UserError

EXAMPLES = """examples:
  dml evaluate                                              the latest run on its validation images
  dml evaluate --run first --split test                     a run on its test images
  dml evaluate --run first --queries new --references train a folder's images searched among the training images
  dml evaluate --run first --queries images_oneshot.zip     Omniglot's one-shot runs, each searched within itself
  dml evaluate --data.root photos --model.encoder dml.encoders.FlattenEncoder       raw pixels
  dml evaluate --embeddings photos.npz                      what `dml predict photos --output photos.npz` wrote
  dml evaluate --embeddings x.npy --labels y.npy            embeddings made elsewhere, leave-one-out
  dml evaluate --run first --estimator sklearn.linear_model.LogisticRegression --estimator_args '{"C": 10}'

"""


def main(arguments: list[str]) -> int:
    """Score, write `scores.json` and the scores of single queries, print a table; return 0."""
    options, keys = build_parser().parse_known_args(arguments)
    with json_alone(options.json) as print_json:
        found = _evaluate(options, keys)
        if options.json and found is not None:
            print_json(found)
    return 0


def _evaluate(options: argparse.Namespace, keys: list[str]) -> dict[str, Any] | None:
    """Score and print the table; return what it holds, None in all processes but the first."""
    if options.embeddings is None:
        for name in ("labels", "reference_embeddings", "reference_labels"):
            if getattr(options, name) is not None:
                raise UserError(f"--{name} goes with --embeddings FILE: give it too")
    if options.queries is not None:
        return _score_images(options, keys)
    if options.references is not None:
        raise UserError("--references are what --queries are searched in: give --queries FOLDER too")
    if options.embeddings is None:
        return _score_recipe(options, keys)
    if keys or options.run or options.config or options.split != "val" or options.ckpt_path != "best":
        raise UserError(
            "--embeddings takes neither a run nor a recipe, no --split and no --ckpt_path: give --labels, and "
            "references if there are any"
        )
    return _score_files(options)


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = scored_parser("evaluate", "Score embeddings: a run's, a recipe's untrained encoder's, or those of a file.")
    parser.epilog = EXAMPLES + str(parser.epilog)
    parser.add_argument("--split", choices=("val", "test"), default="val", help="whose images are the queries (val)")
    parser.add_argument("--queries", metavar="FOLDER", help="any labelled images as queries: folder, zip, table")
    parser.add_argument(
        "--references", metavar="FOLDER", help="what --queries are searched in: another such, or `train` (each other)"
    )
    parser.add_argument(
        "--embeddings",
        metavar="FILE",
        help="instead of images and encoder: a .npz or .parquet file of `dml predict`, or a .npy file",
    )
    parser.add_argument("--labels", metavar="FILE", help="a .npy file (N,) of whole numbers (the archive's own)")
    parser.add_argument("--reference_embeddings", metavar="FILE", help="what --embeddings are searched in (each other)")
    parser.add_argument("--reference_labels", metavar="FILE", help="the labels of --reference_embeddings")
    parser.add_argument("--metric", choices=("l2", "cosine"), help="distance of embeddings (the recipe's; l2)")
    parser.add_argument(
        "--ks",
        type=wholes(least=1, example="1,5,10"),
        metavar="K,K",
        help="the k of recall and precision (the recipe's evaluation.ks; 1,5,10)",
    )
    parser.add_argument(
        "--knn_ks",
        type=wholes(least=1, example="1,5,10"),
        metavar="K,K",
        help="neighbours that vote (the recipe's evaluation.k; 5 without one)",
    )
    parser.add_argument("--estimator", metavar="CLASS_PATH", help="a classifier with scikit-learn's fit and score")
    parser.add_argument("--estimator_args", type=_object, default={}, metavar="JSON", help="its arguments ({})")
    parser.add_argument("--verification", action="store_true", help="ROC AUC, equal error rate, FNMR at FMR 0.001")
    parser.add_argument("--clustering", action="store_true", help="NMI and AMI of k-means clusters")
    parser.add_argument(
        "--max_memory",
        type=memory,
        metavar="SIZE",
        help="memory for the search, beyond the embeddings (the recipe's; 2GiB)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="where to write (a run's own scores.json, unless settings differ; without a run ./scores.json)",
    )
    add_json(parser)
    return parser


def _score_recipe(options: argparse.Namespace, keys: list[str]) -> dict[str, Any] | None:
    """Embed with a run's best weights, or with a recipe's untrained encoder if no run is named."""
    if options.run is None and (options.config or keys):
        run, configs = None, with_default([to_score(config) for config in options.config], keys)
        checkpoint = None if options.ckpt_path in {"best", "last"} else Path(options.ckpt_path)
        if checkpoint is not None and not checkpoint.is_file():
            raise UserError(f"no checkpoint {checkpoint}: give a file, or name its --run")
    else:
        run, checkpoint, configs = find_recipe(options)
    is_own = run is not None and _is_own(options, keys, run)
    if (
        run is not None
        and is_own
        and not (options.output or any(_asked(options)[:3]))
        and (recorded := tell_recorded(run, options.split)) is not None
    ):
        return recorded

    from dml.callbacks.neighbor_record import write_record_of
    from dml.cli.trainer import TrainerCLI
    from dml.evaluation import further_scores

    cli = TrainerCLI(as_keys(configs, [*keys, *_evaluation_keys(options)]), None)
    cli.evaluation.knn_ks = options.knn_ks or cli.evaluation.knn_ks
    cli.score(options.split, checkpoint)
    if options.split == "test":
        record_test_reading(run, "evaluate", checkpoint, cli)
    queries, references, found = cli.evaluation.queries, cli.evaluation.references, cli.evaluation.latest
    if queries is None or references is None or found is None:
        raise UserError("this recipe's model gives no embeddings to score: choose an EmbeddingModule")
    if not cli.trainer.is_global_zero:
        return None
    more = further_scores(
        queries, references, cli.evaluation.metric, cli.evaluation.max_memory, *_asked(options), cli.evaluation.rule
    )
    output = Path(options.output) if options.output else None
    if output is None and (run is None or is_own):
        output = (run or Path()) / runs.SCORES  # a run's own scores are of its own recipe, best weights and distance
    if output is not None:
        sections = cli.scores(options.split)
        record_scores(output, options.split, cli, sections | {options.split: sections[options.split] | more})
    if run is not None and is_own:
        write_record_of(run, options.split, cli.evaluation, cli.datamodule)
    return tell_scores(found.scores | more, found.intervals(), len(queries), len(references), output)


def _score_images(options: argparse.Namespace, keys: list[str]) -> dict[str, Any]:
    """Score a run's encoder on images other than its own."""
    if options.embeddings is not None or options.split != "val":
        raise UserError("--queries are the images to score: leave --embeddings and --split out")

    from dml.cli.shared.other_images import score_images
    from dml.evaluation import further_scores

    keys = [*keys, *_evaluation_keys(options)]
    query, reference, found, class_names, (metric, max_memory, rule) = score_images(options, keys)
    more = further_scores(query, reference, metric, max_memory, *_asked(options), rule)
    output = Path(options.output or runs.SCORES)
    record_evaluation(output, "queries", found, more, class_names)
    return tell_scores(found.scores | more, found.intervals(), len(query), len(reference), output)


def _score_files(options: argparse.Namespace) -> dict[str, Any]:
    from dml.evaluation import Evaluation, further_scores, score_queries

    query, reference = read_sets(options)
    metric, max_memory = options.metric or "l2", options.max_memory or "2GiB"
    ks, knn_ks = options.ks or (1, 5, 10), options.knn_ks or (5,)
    found = Evaluation.of(score_queries(query, reference, ks, knn_ks, max_memory, metric=metric))
    more = further_scores(query, reference, metric, max_memory, *_asked(options))
    output = Path(options.output or runs.SCORES)
    record_evaluation(output, "embeddings", found, more, reference.class_names)
    return tell_scores(found.scores | more, found.intervals(), len(query), len(reference), output)


def _asked(options: argparse.Namespace) -> tuple[bool, bool, str | None, dict[str, Any]]:
    return options.verification, options.clustering, options.estimator, options.estimator_args


def _evaluation_keys(options: argparse.Namespace) -> list[str]:
    """Return the options that stand for recipe keys, as those keys."""
    given = {"metric": options.metric, "max_memory": options.max_memory}
    given |= {"ks": options.ks and list(options.ks), "k": options.knn_ks and options.knn_ks[0]}
    return [f"--evaluation.{key}={value}" for key, value in given.items() if value is not None]


def _is_own(options: argparse.Namespace, keys: list[str], run: Path) -> bool:
    """Tell whether the run's own recipe and best weights are asked for, with nothing changed."""
    recipe = runs.read_recipe(run).get("evaluation") or {}
    given = [(options.metric, recipe.get("metric", "l2")), (options.ks, tuple(recipe.get("ks", ())))]
    given.append((options.knn_ks, (recipe.get("k"),)))
    changed = keys or options.config or options.estimator or options.ckpt_path != "best"
    return not changed and all(option is None or option == own for option, own in given)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text!r} is not a JSON object like {{"C": 10}}')
    return value
