"""What the verbs that score share: the table, and the one place that records scores in a run."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dml import runs
from dml.cli.shared.json_output import add_json, json_alone
from dml.cli.shared.options import Parser, as_keys, find_recipe, scored_parser
from dml.cli.shared.table import score_table

if TYPE_CHECKING:  # importing them loads torch, which --help must not
    from dml.cli.trainer import TrainerCLI
    from dml.evaluation import ClassCounts, Evaluation

Split = Literal["val", "test"]
Sections = dict[str, dict[str, float]]


def score_parser(verb: str, images: str) -> Parser:
    """Return the parser of a verb that scores one split.

    Args:
        verb: `validate` or `test`.
        images: What is scored, for the help.
    """
    parser = scored_parser(verb, f"Score a run, or a recipe that needs no training, on its {images}.")
    parser.add_argument(
        "--output", metavar="FILE", help="where the scores go (the run's scores.json, unless a key is changed)"
    )
    add_json(parser)
    return parser


def score(split: Split, options: argparse.Namespace, keys: list[str]) -> int:
    """Score one split and print the table, or JSON; return 0.

    Args:
        split: The images that are queries.
        options: Of `score_parser`.
        keys: `--KEY VALUE` of the recipe.
    """
    with json_alone(options.json) as print_json:
        scores, output = _score(split, options, keys)
        if options.json and scores:
            print_json({"split": split, "scores": scores, "written_to": output})
    return 0


def _score(split: Split, options: argparse.Namespace, keys: list[str]) -> tuple[Sections, Path | None]:
    """Return the scores (in the first process only) and the file they were written to."""
    run, checkpoint, configs = find_recipe(options)

    from dml.cli.trainer import TrainerCLI  # loads torch, which --help must not

    cli = TrainerCLI(as_keys(configs, keys), None)
    cli.score(split, checkpoint)
    if split == "test":
        record_test_reading(run, "test", checkpoint, cli)
    if not cli.trainer.is_global_zero:
        return {}, None
    scores = cli.scores(split)
    print(score_table(scores))
    output = Path(options.output) if options.output else None
    if run and not (output or keys or options.config or options.ckpt_path != "best"):
        output = run / runs.SCORES  # the run's own scores are of its own recipe and best weights
    if output:
        record_scores(output, split, cli, scores)
        print(f"\nwritten to {output}")
    return scores, output


def record_test_reading(run: Path | None, verb: str, checkpoint: Path | None, cli: "TrainerCLI") -> None:
    """Note in a run that its test part was scored, and say how often it had been before; without a run, do nothing."""
    if run is None or not cli.trainer.is_global_zero:
        return
    before = runs.record_reading(run, verb, checkpoint, cli.datamodule.test_part)
    if before:
        times = "once" if before == 1 else f"{before} times"
        print(f"the test images of this run were scored {times} before: see {run / runs.READINGS}")


def record_scores(output: Path, split: Split, cli: "TrainerCLI", sections: Mapping[str, Any]) -> None:
    """Write sections of scores with the intervals of what was scored last, and the scores of each query.

    Args:
        output: The `scores.json`; the record of the queries goes next to it.
        split: What was scored.
        cli: What scored it.
        sections: `{split: scores}`, and others that belong to it.

    Raises:
        UserError: The disk is full or the folder cannot be written.
    """
    found = cli.evaluation.latest
    left_out = runs.write_scores(output, sections, {} if found is None else {split: found.intervals()})
    tell_left_out(left_out, output)
    counts = {"head": getattr(cli.model, "class_counts", None)}
    if found is not None:
        ids = found.queries.ids
        images = cli.datamodule.name_of_all(ids[ids.argsort()])
        found.queries._replace(images=images).save(runs.queries_path(output.parent, split))
        counts["knn"] = found.queries.votes
    record_classes(output.parent, split, counts, cli.datamodule.class_names)


def record_classes(
    folder: Path, split: str, counts: "Mapping[str, ClassCounts | None]", class_names: Sequence[str]
) -> None:
    """Write precision, recall and F1 of each class beside the scores: of k-NN votes, and of a classifier's head.

    Args:
        folder: Holds the `scores.json`.
        split: What was scored.
        counts: By predictor; None: it made no predictions.
        class_names: By label.

    Raises:
        UserError: The disk is full or the folder cannot be written.
    """
    from dml.evaluation import class_record

    found = {who: class_record(each, class_names) for who, each in counts.items() if each is not None}
    if found:
        runs.write_json(runs.classes_path(folder, split), found)


def record_evaluation(
    output: Path, section: str, found: "Evaluation", more: Mapping[str, float], class_names: Sequence[str]
) -> None:
    """Write scores with their intervals, and the records of single queries and classes next to them.

    Args:
        output: The `scores.json`.
        section: What the scores are of.
        found: Scores and queries.
        more: Further scores.
        class_names: By label.

    Raises:
        UserError: The disk is full or the folder cannot be written.
    """
    left_out = runs.write_scores(output, {section: {**found.scores, **more}}, {section: found.intervals()})
    tell_left_out(left_out, output)
    found.queries.save(runs.queries_path(output.parent, section))
    record_classes(output.parent, section, {"knn": found.queries.votes}, class_names)


def tell_left_out(scores: Sequence[str], output: Path) -> None:
    """Say in one line which scores are infinite or NaN, and therefore not in the file.

    Example:
        >>> tell_left_out([], Path("scores.json"))
    """
    if scores:
        print(f"dml: {', '.join(scores)}: infinite or not a number, so not in {output}", file=sys.stderr)
