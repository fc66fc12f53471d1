"""What `dml validate` and `dml test` share: score a run's best checkpoint and add the scores to its `scores.json`."""

from pathlib import Path
from typing import Literal

from dml import runs
from dml.cli.options import as_keys, find_recipe, scored_parser
from dml.cli.table import score_table


def score(split: Literal["val", "test"], verb: str, description: str, arguments: list[str]) -> int:
    """Score one split and print the table; return 0.

    Args:
        split: The images that are queries.
        verb: The verb, for its help.
        description: What the verb does, for its help.
        arguments: The command line after the verb.
    """
    parser = scored_parser(verb, description)
    parser.add_argument(
        "--output", metavar="FILE", help="where the scores go (the run's scores.json, unless a key is changed)"
    )
    options, keys = parser.parse_known_args(arguments)
    run, checkpoint, configs = find_recipe(options)

    from dml.cli.trainer import TrainerCLI  # loads torch, which --help must not

    cli = TrainerCLI(as_keys(configs, keys), None)
    (cli.validate if split == "val" else cli.test)(checkpoint)
    if cli.trainer.is_global_zero:
        scores = cli.scores(split)
        print(score_table(scores))
        output = Path(options.output) if options.output else None
        if run and not (output or keys or options.config or options.ckpt_path != "best"):
            output = run / runs.SCORES  # the run's own scores are of its own recipe and best weights
        if output:
            runs.merge_scores(output, scores)
            print(f"\nwritten to {output}")
    return 0
