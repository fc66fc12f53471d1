"""`dml fit --folds K` and `dml test` of what it wrote: cross-validation over folds of the classes."""

import argparse
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dml import cli, runs
from dml.cli.shared.json_output import json_alone
from dml.cli.shared.options import as_keys
from dml.errors import UserError

if TYPE_CHECKING:  # importing them loads torch, which --help must not
    from dml.callbacks import KNNEvaluation
    from dml.experiments.folds import FoldMean, Folds

RECORD = "folds.json"


def holds_folds(options: argparse.Namespace) -> Path | None:
    """Return the folder of folds that `--run` names, None if it names a run or nothing."""
    places = [] if options.run is None else [Path(options.run), Path(options.runs_dir) / options.run]
    return next((place for place in places if (place / RECORD).is_file()), None)


def fit_folds(options: argparse.Namespace, keys: list[str]) -> int:
    """Train one run for each fold of the classes, and print the means of their scores; return 0.

    Raises:
        UserError: A training failed, or the folder holds other folds.
    """
    if options.ckpt_path is not None:
        raise UserError("--folds resumes by itself where it stopped: leave --ckpt_path out")
    name = options.name if options.name is not None else datetime.now().strftime("folds_%Y-%m-%d_%H-%M-%S")
    runs.check_name(name, "--name")

    from dml.experiments.folds import fold_means, split_words

    split_words(keys, options.folds, 0)
    with json_alone(options.json) as print_json:
        folds = _fit_folds(options, keys, name)
        means = fold_means(folds.scores("val"))
        print("\n" + mean_table(means, {}))
        print(f"\nvalidation scores, mean of {options.folds} folds with a 95 % interval; all of them in {folds.path}")
        test = f"dml test --runs_dir {options.runs_dir} --run {name}"
        print(f"test    {test}    each fold, and their concatenated embedding")
        if options.json:
            print_json({"folds": options.folds, "split": "val", "scores": _records(means), "written_to": folds.path})
    return 0


def _fit_folds(options: argparse.Namespace, keys: list[str], name: str) -> "Folds":
    from dml.experiments.folds import Folds
    from dml.experiments.jobs import run_here

    words = [word for config in options.config for word in ("--config", str(Path(config).resolve()))]
    folds = Folds(Path(options.runs_dir) / name, options.folds, [*words, *keys])
    start = run_here(cli.main)
    with runs.held(folds.folder):
        for fold in folds.left():
            print(f"fold {fold + 1} of {options.folds} ...", flush=True)
            folds.run_fold(fold, start)
        folds.write()
    return folds


def score_folds(folder: Path, options: argparse.Namespace, keys: list[str]) -> int:
    """Score every fold's best encoder on the test part, and their embeddings side by side; return 0.

    Raises:
        UserError: A fold has not ended, there is no test part, or anything but the runs' own settings is asked for.
    """
    if keys or options.config or options.output or options.ckpt_path != "best":
        raise UserError("a folder of folds is tested as it was trained: leave recipes, keys, --ckpt_path, --output out")
    with json_alone(options.json) as print_json:
        found = _score_folds(folder)
        if options.json:
            print_json(found)
    return 0


def _score_folds(folder: Path) -> dict[str, Any]:
    """Score, print the table and return what it holds."""
    from dml.cli.shared.scoring import record_evaluation
    from dml.evaluation import Evaluation, concatenate, score_queries
    from dml.experiments.folds import Folds, fold_means

    folds = Folds(folder)
    if left := folds.left():
        raise UserError(f"fold {left[0]} of {folder} has not ended: go on with the same `dml fit --folds`")
    pairs = []
    for run in folds.folders:
        print(f"{run.name} ...", flush=True)
        own = _test_fold(folds, run)
        if own.queries is None or own.references is None:
            raise UserError(f"the model of {run} gives no embeddings: choose an EmbeddingModule")
        pairs.append((own.queries, own.references))
    folds.write()
    scores: dict[str, float] = {}
    try:
        joined = concatenate(pairs, own.metric)
    except UserError as error:
        print(f"no concatenated embedding: {error}")
    else:
        query, reference = joined
        settings = own.ks, own.knn_ks, own.max_memory, None, None, own.metric, own.rule, own.scores
        found = Evaluation.of(score_queries(query, reference, *settings))
        scores = found.scores
        record_evaluation(folder / runs.SCORES, "test", found, {}, joined[0].class_names)
    means = fold_means(folds.scores("test"))
    print("\n" + mean_table(means, scores))
    print(f"\ntest scores, mean of {len(pairs)} folds with a 95 % interval; all of them in {folds.path}")
    about = {"folds": len(pairs), "split": "test", "scores": _records(means)}
    return about | {"concatenated": scores, "written_to": folds.path}


def _records(means: "Mapping[str, FoldMean]") -> dict[str, Any]:
    return {name: {"mean": mean, "interval": [low, high]} for name, (mean, low, high) in means.items()}


def mean_table(means: "Mapping[str, FoldMean]", concatenated: Mapping[str, float]) -> str:
    """Return scores, one per line: mean over folds, its interval, and the concatenated embedding's score if any.

    Example:
        >>> from dml.experiments.folds import FoldMean
        >>> print(mean_table({"map_at_r": FoldMean(0.5, 0.25, 0.75)}, {"map_at_r": 0.6}))
                    mean  95 % interval     concatenated
        map_at_r  0.5000  [0.2500, 0.7500]        0.6000
    """
    width = max(map(len, means))
    head = f"{'':<{width}}    mean  {'95 % interval':<17}" + ("concatenated" if concatenated else "")
    lines = [head.rstrip()]
    for name, (mean, low, high) in means.items():
        more = f"{concatenated[name]:>12.4f}" if name in concatenated else ""
        lines.append(f"{name:<{width}}{mean:>8.4f}  {f'[{low:.4f}, {high:.4f}]':<17} {more}".rstrip())
    return "\n".join(lines)


def _test_fold(folds: "Folds", run: Path) -> "KNNEvaluation":
    """Score one fold's test part, record it in its run, and return what scored it."""
    from dml.cli.shared.scoring import record_scores, record_test_reading
    from dml.cli.trainer import TrainerCLI

    checkpoint = runs.find_checkpoint(run, "best")
    trainer = TrainerCLI(as_keys([runs.recipe_text(runs.read_to_score(run))], []), None)
    trainer.score("test", checkpoint)
    record_test_reading(run, "test", checkpoint, trainer)
    scores = trainer.scores("test")
    record_scores(run / runs.SCORES, "test", trainer, scores)
    folds.content["runs"][run.name]["test"] = scores["test"]
    return trainer.evaluation
