"""`dml evaluate`: score a run, any recipe's encoder untrained, or embeddings from files; write `scores.json`."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dml import runs
from dml.cli.options import as_keys, find_recipe, scored_parser, with_default
from dml.errors import UserError

if TYPE_CHECKING:  # importing them loads torch, which --help must not
    from dml.evaluation.embedded import Scored, Task

_KNN_KS = (5,)
EXAMPLES = """examples:
  dml evaluate                                              the latest run on its validation images
  dml evaluate --run first --split test                     a run on its test images
  dml evaluate --data.root photos --model.encoder dml.encoders.FlattenEncoder       raw pixels
  dml evaluate --embeddings x.npy --labels y.npy            embeddings made elsewhere, leave-one-out
  dml evaluate --run first --estimator sklearn.linear_model.LogisticRegression --estimator_args '{"C": 10}'

"""


def main(arguments: list[str]) -> int:
    """Score, write `scores.json` and the scores of single queries, print a table; return 0."""
    options, keys = _parser().parse_known_args(arguments)
    if options.embeddings is None:
        return _score_recipe(options, keys)
    if keys or options.run or options.config:
        raise UserError("--embeddings takes neither a run nor a recipe: give --labels, and references if there are any")

    from dml.evaluation.embedded import read_task

    task = read_task(options.embeddings, options.labels, options.reference_embeddings, options.reference_labels)
    _finish(options, task, Path(options.output or runs.SCORES), "embeddings", options.knn_ks or _KNN_KS)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = scored_parser("evaluate", "Score embeddings: a run's, a recipe's untrained encoder's, or those of a file.")
    parser.epilog = EXAMPLES + str(parser.epilog)
    parser.add_argument("--split", choices=("val", "test"), default="val", help="whose images are the queries (val)")
    parser.add_argument("--embeddings", metavar="FILE", help="a .npy file (N,D) instead of images and encoder")
    parser.add_argument("--labels", metavar="FILE", help="a .npy file (N,) of whole numbers, for --embeddings")
    parser.add_argument("--reference_embeddings", metavar="FILE", help="what --embeddings search; without: each other")
    parser.add_argument("--reference_labels", metavar="FILE", help="the labels of --reference_embeddings")
    parser.add_argument("--metric", choices=("l2", "cosine"), default="l2", help="distance of embeddings (l2)")
    parser.add_argument(
        "--ks", type=_numbers, default=(1, 5, 10), metavar="K,K", help="of recall and precision (1,5,10)"
    )
    parser.add_argument(
        "--knn_ks", type=_numbers, metavar="K,K", help="neighbours that vote (the recipe's evaluation.k; 5 without one)"
    )
    parser.add_argument("--estimator", metavar="CLASS_PATH", help="a classifier with scikit-learn's fit and score")
    parser.add_argument("--estimator_args", type=_object, default={}, metavar="JSON", help="its arguments ({})")
    parser.add_argument("--verification", action="store_true", help="ROC AUC, equal error rate, FNMR at FMR 0.001")
    parser.add_argument("--clustering", action="store_true", help="NMI and AMI of k-means clusters")
    parser.add_argument(
        "--max_memory", default="2GiB", metavar="SIZE", help="for the search, beyond the embeddings (2GiB)"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="where to write (a run's own scores.json, unless settings differ; without a run ./scores.json)",
    )
    return parser


def _score_recipe(options: argparse.Namespace, keys: list[str]) -> int:
    """Embed with a run's best weights, or with a recipe's encoder as it is where no run is named."""
    if options.run is None and (options.config or keys):
        run, configs = None, with_default(options.config, keys)
        checkpoint = None if options.ckpt_path in {"best", "last"} else Path(options.ckpt_path)
        if checkpoint is not None and not checkpoint.is_file():
            raise UserError(f"no checkpoint {checkpoint}: give a file, or name its --run")
    else:
        run, checkpoint, configs = find_recipe(options)

    from dml.callbacks.neighbors import write_record_of
    from dml.cli.trainer import TrainerCLI
    from dml.evaluation.embedded import Task
    from dml.evaluation.samples import check_samples

    cli = TrainerCLI(as_keys(configs, keys), None)
    (cli.validate if options.split == "val" else cli.test)(checkpoint)
    if not cli.trainer.is_global_zero:
        return 0
    queries, references = cli.evaluation.queries, cli.evaluation.references
    if queries is None or references is None:
        raise UserError("this recipe's model gives no embeddings to score: choose an EmbeddingModule")
    query = check_samples(*queries)
    task = Task(query, query if references is queries else check_samples(*references, name="reference"))
    if run is not None and _is_own(options, keys):
        write_record_of(run, options.split, cli.evaluation, cli.datamodule)
    if run is None or options.output or _is_own(options, keys):
        output = Path(options.output) if options.output else (run or Path()) / runs.SCORES
    else:
        output = None  # the run's own scores are of its own recipe, best weights and distance
    _finish(options, task, output, options.split, options.knn_ks or (cli.evaluation.k,))
    return 0


def _is_own(options: argparse.Namespace, keys: list[str]) -> bool:
    changed = keys or options.config or options.estimator
    return not changed and options.ckpt_path == "best" and options.metric == "l2" and options.knn_ks is None


def _finish(
    options: argparse.Namespace, task: "Task", output: Path | None, section: str, knn_ks: tuple[int, ...]
) -> None:
    from dml.evaluation.embedded import score_task
    from dml.evaluation.records import record_path, write_record

    scored = score_task(
        task,
        metric=options.metric,
        ks=options.ks,
        knn_ks=knn_ks,
        max_memory=options.max_memory,
        verification=options.verification,
        clustering=options.clustering,
        estimator=options.estimator,
        estimator_args=options.estimator_args,
    )
    if output is not None:
        _write(output, section, scored)
        write_record(record_path(output.parent, section), scored.queries)
    print(interval_table(scored.scores, scored.intervals))
    written = f"written to {output}" if output else "settings differ from the run's own: not written without --output"
    print(f"\n{len(task.query.ids)} queries, {len(task.reference.ids)} references; {written}")


def _write(output: Path, section: str, scored: "Scored") -> None:
    known = runs.read_json(output) if output.exists() else {}
    intervals = {**known.get("intervals", {}), section: {name: list(pair) for name, pair in scored.intervals.items()}}
    scores = {**known.get(section, {}), **scored.scores}
    runs.write_json(output, {**known, section: scores, "intervals": intervals})


def interval_table(scores: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> str:
    """Return scores, one a line, with their intervals where they have one.

    Example:
        >>> print(interval_table({"map_at_r": 0.5, "num_lone_queries": 3.0}, {"map_at_r": (0.45, 0.55)}))
        map_at_r          0.5000  [0.4500, 0.5500]
        num_lone_queries       3
    """
    width = max(map(len, scores))
    lines = []
    for name, value in scores.items():
        number = f"{value:>8.0f}" if name.startswith("num_") else f"{value:>8.4f}"
        low_high = "  [{:.4f}, {:.4f}]".format(*intervals[name]) if name in intervals else ""
        lines.append(f"{name:<{width}}{number}{low_high}")
    return "\n".join(lines)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers like 1,5,10") from None


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text!r} is no JSON object like {{"C": 10}}')
    return value
