"""`dml fit`: train, score the best checkpoint beside raw pixels and the untrained encoder, say where the run is."""

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dml import runs
from dml.cli.shared.advice import advice
from dml.cli.shared.folds import fit_folds
from dml.cli.shared.json_output import add_json, json_alone
from dml.cli.shared.numbers import whole
from dml.cli.shared.options import Parser, as_keys, trainer_parser, with_default
from dml.cli.shared.table import score_table
from dml.errors import UserError

if TYPE_CHECKING:  # importing it loads torch, which --help must not
    from dml.cli.trainer import TrainerCLI


def main(arguments: list[str]) -> int:
    """Train a recipe; return 0, or 130 after Ctrl-C."""
    options, keys = build_parser().parse_known_args(arguments)
    if options.folds is not None:
        return fit_folds(options, keys)
    with json_alone(options.json) as print_json, ExitStack() as stack:
        run, checkpoint, configs = _resolve(options, keys, stack)
        code, found = _train(run, checkpoint, as_keys(with_default(configs, keys), keys))
        if options.json and found:
            print_json(found)
    return code


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = trainer_parser("fit", "Train an encoder. Without arguments: on scikit-learn's handwritten digits.")
    parser.add_argument("--name", help="the run's folder in runs_dir (date and time)")
    parser.add_argument("--ckpt_path", metavar="FILE", help="resume from a checkpoint; `last`: the run's own")
    parser.add_argument(
        "--folds", type=whole(least=2), metavar="K", help="cross-validation: K runs with different validation classes"
    )
    add_json(parser)
    return parser


def _resolve(options: argparse.Namespace, keys: list[str], stack: ExitStack) -> tuple[Path, Path | None, list[str]]:
    """Return the run folder, held until the stack ends, the checkpoint to resume from, and the recipe files."""
    if options.ckpt_path == "last":
        return _resume(options, keys, stack)
    checkpoint = None if options.ckpt_path is None else Path(options.ckpt_path)
    if checkpoint is not None and not checkpoint.is_file():
        raise UserError(f"no checkpoint {checkpoint}: give a file, or `last` for the run's own")
    return stack.enter_context(runs.begun_run(options.runs_dir, options.name)), checkpoint, options.config


def _resume(options: argparse.Namespace, keys: list[str], stack: ExitStack) -> tuple[Path, Path | None, list[str]]:
    """Return the same for a run that was stopped; one without a checkpoint starts over."""
    run = Path(options.runs_dir) / (options.name or "")
    begun = options.name is not None and (run / runs.LOCK).exists() and not (run / runs.CONFIG).exists()
    if not begun:
        run = runs.find_run(options.name or "latest", options.runs_dir)
    elif not (options.config or keys):
        raise UserError(f"run {run} was stopped before its recipe was written: give the recipe again, or remove {run}")
    stack.enter_context(runs.held_run(run))
    configs = options.config or ([] if begun else [runs.recipe_argument(run)])
    if runs.has_checkpoint(run):
        return run, runs.find_checkpoint(run, "last"), configs
    if (run / runs.SCORES).exists():
        raise UserError(f"run {run} has ended and its last checkpoint was removed: train it again by another --name")
    stack.enter_context(runs.kept_if_checkpointed(run))
    if runs.is_first_process():
        print(f"run {run} was stopped before its first checkpoint: it starts over", flush=True)
        runs.clear_run(run)
    return run, None, configs


def _train(run: Path, checkpoint: Path | None, keys: list[str]) -> tuple[int, dict[str, Any]]:
    """Train and report; return the exit code, and what was reported if training came to its end."""
    from dml.cli.trainer import TrainerCLI  # loads torch, which --help must not

    cli = TrainerCLI(keys, run)
    if not cli.fit(checkpoint):
        if cli.trainer.is_global_zero:
            print(f"\nstopped; go on with: dml fit --runs_dir {run.parent} --name {run.name} --ckpt_path last")
        return 130, {}
    if not cli.trainer.is_global_zero:
        return 0, {}
    if cli.rehearsal:
        print("the recipe runs: trainer.fast_dev_run trained and validated on a few batches and kept nothing")
        return 0, {}
    return 0, _report(cli, run)


def _report(cli: "TrainerCLI", run: Path) -> dict[str, Any]:
    from dml.reports.verdict import verdict  # loads matplotlib, which --help must not

    recorded, next_steps = runs.read_scores(run / runs.SCORES), list[str]()
    baselines, trained = recorded.get("baselines", {}), cli.scores("val")["val"]
    labelled = {runs.baseline_label(name, sections): sections["val"] for name, sections in baselines.items()}
    print(score_table(labelled | {"trained": trained}))
    rows = {name: sections["val"] for name, sections in baselines.items()} | {"trained": trained}
    if (judged := verdict(recorded)) is not None:
        print(f"\n{judged.text}")
        next_steps = [] if judged.better else advice(run / runs.CONFIG, cli.config, cli.datamodule)
        if next_steps:
            print("\n".join(["To try next:", *(f"  {command}" for command in next_steps)]))
    print(f"\nrun       {run}\nmonitor   tensorboard --logdir {run.parent}\npictures  {run / runs.PICTURES}")
    intervals = recorded.get("intervals", {}).get("val", {})
    told = {"verdict": judged and judged.text, "better": judged and judged.better, "advice": next_steps}
    return {"run": run, "split": "val", "scores": rows, "intervals": intervals, **told}
