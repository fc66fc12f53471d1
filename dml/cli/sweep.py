"""`dml sweep`: try values of any keys of a recipe, over several seeds; a table, a plot and the best recipe."""

import argparse
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dml import cli, runs
from dml.cli.shared.numbers import whole, wholes
from dml.cli.shared.options import KEYS, Parser, add_config, add_trust, as_keys, with_default
from dml.errors import UserError

if TYPE_CHECKING:  # importing them loads torch, which --help must not
    from dml.experiments.jobs import Start
    from dml.experiments.sweep.objective import Objective, Recipe
    from dml.experiments.sweep.pruning import Pruning
    from dml.experiments.sweep.records import Sweep
    from dml.experiments.sweep.search import Configuration, Mode, Search
    from dml.experiments.sweep.settings import SweepSettings
    from dml.experiments.sweep.space import Dimension

SOME_FAILED, INTERRUPTED = 1, 130  # exit codes
TRIALS = 20

EPILOG = """values of a key:
  model.loss.margin=0.1:2.0:15              15 values from 0.1 to 2.0
  model.optimizer.lr=1e-4:1e-1:7:log        7 values, evenly spaced on a logarithmic scale
  model.encoder.embedding_dim=8,16,64       these values
  model.optimizer.lr=1e-4:1e-1:log          a range to draw from (--search random, bayes)
  data.batch_size=32:256:int                whole numbers only

examples:
  dml sweep --over model.loss.margin=0.1:2.0:15 --seeds 0,1,2 --name margins
  dml sweep --config recipe.yaml --over model.optimizer.lr=1e-4:1e-1:log --over data.batch_size=60,120 \\
            --search bayes --trials 30
  dml sweep --over model.optimizer.lr=1e-4:1e-1:log --search random --trials 100 --prune asha --name rates \\
            --storage journal:/shared/sweeps --runs_dir /shared/runs      the same line on every machine: one sweep

With --storage any number of workers on any machines share a sweep: each trial is run by one of them, recorded once, and
taken over if its worker dies. The workers see the same runs_dir. --prune asha ends trials that fall behind.
The same command with the same --name continues where it stopped, and may add values, seeds or trials.
Exit code: 0 all trials ended well, 1 some failed (sweep.csv says why), 2 a mistake to fix, 130 interrupted.

"""


def main(arguments: list[str]) -> int:
    """Run what is left of a sweep and write its results; return 0, 1 if a trial failed, or 130 after Ctrl-C."""
    options, keys = build_parser().parse_known_args(arguments)
    folder = _folder(options)
    words = as_keys(with_default(options.config, keys), keys)

    from dml.experiments.sweep.space import read_space

    try:
        space = read_space(options.over, ranges=options.search != "grid")
    except UserError as error:
        raise UserError(f"--over: {error}") from error
    if options.search == "grid" and options.trials is not None:
        raise UserError("--trials is for --search random or bayes; a grid tries all")
    if options.prune is None and (options.prune_from, options.prune_factor) != (None, None):
        raise UserError("--prune_from and --prune_factor say how --prune asha prunes: give that too")
    if options.storage is not None and options.name is None:
        raise UserError("workers that share a --storage must give the same --name: give it")

    from dml.experiments.sweep.objective import check_space, complete_recipe, default_objective
    from dml.experiments.sweep.settings import SweepSettings

    recipe = complete_recipe(cli.main, words)  # loads torch, which --help must not
    objective = default_objective(recipe, options.score, options.mode)
    sweep = _sweep(folder, recipe, [dimension.key for dimension in space], options.storage)
    search = _search(options, space, objective.mode)
    check_space(cli.main, words, space)
    if options.retry_failed:
        sweep.forget_failed()
    count = len(search) if isinstance(search, list) else options.trials or TRIALS
    seeds = options.seeds or (int(recipe["seed_everything"]),)
    settings = SweepSettings(words, seeds, search, count, objective, _pruning(options))
    start, slots = _start(options.parallel, alone=str(recipe["trainer"]["devices"]) in {"auto", "1"})
    return _run(sweep, settings, start, slots)


def _run(sweep: "Sweep", settings: "SweepSettings", start: "Start", slots: int) -> int:
    from dml.experiments.sweep.progress import SweepProgress
    from dml.experiments.sweep.sweep import run_sweep

    ended = len(sweep.outcomes)
    if isinstance(settings.search, list):
        left = len(sweep.left(settings.seeds, settings.search))
    else:
        left = settings.count * len(settings.seeds) - ended
    code = elsewhere = 0
    with SweepProgress(ended, ended + max(0, left), settings.objective.score) as progress:
        try:
            elsewhere = run_sweep(sweep, settings, start, slots, progress.tell)
        except KeyboardInterrupt:
            code = INTERRUPTED
    if elsewhere:
        print(f"{elsewhere} more trials are being run by other workers; the last one to end writes the whole table")
    return _finish(sweep, settings.objective, code) if sweep.outcomes else code


def _finish(sweep: "Sweep", objective: "Objective", code: int) -> int:
    """Write the results, say where they are, and return the exit code."""
    from dml.experiments.sweep.results import write_results

    best = write_results(sweep, objective)
    failed = [outcome for outcome in sweep.outcomes if outcome.status == "failed"]
    if best is None and not code:
        first = failed[0] if failed else sweep.outcomes[0]
        raise UserError(f"all {len(sweep.outcomes)} trials {first.status}, the first by: {first.reason}")
    print(f"\ntable    {sweep.folder / 'sweep.csv'}\nplot     {sweep.folder / 'sweep.png'}")
    print(f"compare  tensorboard --logdir {sweep.folder / 'hparams'}")
    if best is not None:
        print(f"best     {best} by {objective.score}\n         dml fit --config {sweep.folder / 'best.yaml'}")
    if failed:
        print(f"{len(failed)} of {len(sweep.outcomes)} trials failed: {sweep.folder / 'sweep.csv'} says why")
    if code:
        print(f"stopped; go on with the same command and --name {sweep.folder.name}")
    return code or (SOME_FAILED if failed else 0)


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = Parser(
        prog="dml sweep",
        description="Try values of any keys of a recipe: grid, random or Bayesian search, over several seeds.",
        epilog=EPILOG + KEYS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_config(parser)
    parser.add_argument(
        "--over", action="append", default=[], metavar="KEY=VALUES", help="a swept key; may be repeated"
    )
    parser.add_argument(
        "--search", choices=("grid", "random", "bayes"), default="grid", help="how configurations are chosen (grid)"
    )
    parser.add_argument(
        "--trials", type=whole(least=1), metavar="N", help=f"how many configurations to draw ({TRIALS})"
    )
    parser.add_argument("--search_seed", type=whole(), default=0, metavar="N", help="seed of the draws (0)")
    parser.add_argument(
        "--seeds", type=wholes(), metavar="N,N", help="run each configuration under each seed (the recipe's own)"
    )
    parser.add_argument(
        "--score", metavar="KEY", help="the score that is plotted and decides (what the recipe's checkpoint monitors)"
    )
    parser.add_argument(
        "--mode", choices=("min", "max"), help="whether lower or higher is better (guessed from its name)"
    )
    parser.add_argument(
        "--parallel", type=whole(least=1), metavar="N", help="trials at once (the number of GPUs, or 1)"
    )
    parser.add_argument("--storage", metavar="ADDRESS", help="journal:DIR or a database's URL, shared by many workers")
    parser.add_argument("--prune", choices=("asha",), help="end trials early if they fall behind the others (none)")
    parser.add_argument("--prune_from", type=whole(least=1), metavar="N", help="epochs that every trial gets (1)")
    parser.add_argument(
        "--prune_factor", type=whole(least=2), metavar="N", help="one in N goes on, at N times the epochs each (3)"
    )
    parser.add_argument("--retry_failed", action="store_true", help="run failed trials again")
    parser.add_argument("--name", help="the sweep's folder in runs_dir (date and time)")
    parser.add_argument("--runs_dir", default="runs", metavar="DIR", help="the folder of all runs (runs)")
    add_trust(parser)
    return parser


def _folder(options: argparse.Namespace) -> Path:
    name = options.name if options.name is not None else datetime.now().strftime("sweep_%Y-%m-%d_%H-%M-%S")
    runs.check_name(name, "sweep name")
    return Path(options.runs_dir) / name


def _search(options: argparse.Namespace, space: "list[Dimension]", mode: "Mode") -> "Search | list[Configuration]":
    from dml.experiments.sweep.search import Search, grid

    return grid(space) if options.search == "grid" else Search(options.search, space, options.search_seed, mode)


def _pruning(options: argparse.Namespace) -> "Pruning | None":
    from dml.experiments.sweep.pruning import Pruning

    return None if options.prune is None else Pruning(options.prune_from or 1, options.prune_factor or 3)


def _sweep(folder: Path, recipe: "Recipe", keys: list[str], storage: str | None) -> "Sweep":
    from dml.experiments.sweep.records import Sweep

    try:
        return Sweep(folder, recipe, keys, storage)
    except UserError as error:
        told = str(error)
        raise UserError(f"--{told}" if told.startswith("storage ") else told) from error


def _start(parallel: int | None, alone: bool) -> "tuple[Start, int]":
    """Return what starts a trial, and how many run at once.

    One at a time on one device runs in this process; on several devices, Lightning would start this command again.
    """
    import torch

    from dml.experiments.jobs import RunApart, run_here

    gpus = torch.cuda.device_count()
    slots = parallel or max(1, gpus)
    command = [sys.executable, "-m", "dml", *(f"--trust={module}" for module in runs.trusted_modules())]
    if slots == 1:
        return (run_here(cli.main) if alone and gpus <= 1 else RunApart(command, [{}])), 1
    threads = (
        {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // slots))} if "OMP_NUM_THREADS" not in os.environ else {}
    )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
    devices = [{**threads, **({"CUDA_VISIBLE_DEVICES": visible[slot % gpus]} if gpus else {})} for slot in range(slots)]
    return RunApart(command, devices), slots
