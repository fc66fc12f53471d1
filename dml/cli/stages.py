"""`dml stages`: train in stages from one file, each passing its encoder on, and again without the first stage."""

import argparse
from pathlib import Path
from typing import Any

from dml import cli, runs
from dml.cli.shared.json_output import add_json, json_alone
from dml.cli.shared.options import Parser, add_trust


def main(arguments: list[str]) -> int:
    """Run what is missing and print one table; return 0."""
    options, keys = build_parser().parse_known_args(arguments)
    with json_alone(options.json) as print_json:
        found = _run_stages(options, keys)
        if options.json:
            print_json(found)
    return 0


def _run_stages(options: argparse.Namespace, keys: list[str]) -> dict[str, Any]:
    """Run what is missing, print the table and return what was recorded."""
    file = Path(options.config)
    name = options.name or file.stem
    runs.check_name(name, "--name")

    from dml.cli.shared.table import score_table  # the rest loads torch, which --help must not
    from dml.experiments.jobs import run_here
    from dml.experiments.stages import Stages, read_stages

    stages = Stages(Path(options.runs_dir) / name, read_stages(file), keys)
    start = run_here(cli.main)
    with runs.held(stages.folder):
        for chain, place in stages.left():
            print(f"{chain}: {stages.chains[chain][place].name} ...", flush=True)
            stages.run_stage(chain, place, start)
    shown = ("accuracy", "knn_accuracy", "recall_at_1", "map_at_r", "mse", "loss")
    print("\n" + score_table({run: record["val"] for run, record in stages.content["runs"].items()}, shown))
    print(f"\nvalidation scores; runs and encoder hashes in {stages.path}")
    return stages.content | {"written_to": stages.path}


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = Parser(
        prog="dml stages",
        description="Train in stages (autoencode, metric, probe ...); the same command continues where it stopped.",
        epilog="Other words are keys of every stage's recipe: --data.root photos, --trainer.accelerator cpu.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "-c", "--config", type=runs.recipe_file, required=True, metavar="FILE", help="a YAML file with `stages:`"
    )
    parser.add_argument("--name", help="the folder in runs_dir (the file's name)")
    parser.add_argument("--runs_dir", default="runs", metavar="DIR", help="the folder of all runs (runs)")
    add_json(parser)
    add_trust(parser)
    return parser
