"""`dml fit`: train, score the best checkpoint beside raw pixels and the untrained encoder, say where the run lies."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dml import runs
from dml.cli.options import Parser, as_keys, trainer_parser, with_default
from dml.cli.scoring import record_scores
from dml.cli.table import score_table
from dml.errors import UserError

if TYPE_CHECKING:  # importing it loads torch, which --help must not
    from dml.cli.trainer import TrainerCLI


def main(arguments: list[str]) -> int:
    """Train a recipe; return 0, or 130 after Ctrl-C."""
    options, keys = build_parser().parse_known_args(arguments)
    run, checkpoint, configs = _resolve(options)
    configs = with_default(configs, keys)

    from dml.cli.trainer import TrainerCLI

    cli = TrainerCLI(as_keys(configs, keys), run)
    if not cli.fit(checkpoint):
        print(f"\nstopped; go on with: dml fit --runs_dir {run.parent} --name {run.name} --ckpt_path last")
        return 130
    if cli.trainer.is_global_zero and not cli.rehearsal:
        _report(cli, run)
    return 0


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = trainer_parser("fit", "Train an encoder. Without arguments: on scikit-learn's handwritten digits.")
    parser.add_argument("--name", help="the run's folder in runs_dir (date and time)")
    parser.add_argument("--ckpt_path", metavar="FILE", help="go on from a checkpoint; `last`: from the run's own")
    return parser


def _resolve(options: argparse.Namespace) -> tuple[Path, Path | None, list[str]]:
    """Return the run folder, the checkpoint to go on from, and the recipe files."""
    if options.ckpt_path == "last":
        run = runs.find_run(options.name or "latest", options.runs_dir)
        return run, runs.find_checkpoint(run, "last"), options.config or [runs.recipe_argument(run)]
    checkpoint = None if options.ckpt_path is None else Path(options.ckpt_path)
    if checkpoint is not None and not checkpoint.is_file():
        raise UserError(f"no checkpoint {checkpoint}: give a file, or `last` for the run's own")
    return runs.new_run(options.runs_dir, options.name), checkpoint, options.config


def _report(cli: "TrainerCLI", run: Path) -> None:
    scores = cli.scores("val")
    record_scores(run / runs.SCORES, "val", cli, scores | {"baselines": cli.evaluation.baselines})
    rows = {name: sections["val"] for name, sections in cli.evaluation.baselines.items()} | {"trained": scores["val"]}
    print(score_table(rows))
    print(f"\nrun       {run}\nmonitor   tensorboard --logdir {run.parent}\npictures  {run / runs.PICTURES}")
