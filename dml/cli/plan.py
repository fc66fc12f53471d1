"""`dml plan`: what training will take, before it is started."""

import argparse
import os
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dml.cli.shared.json_output import add_json, json_alone
from dml.cli.shared.numbers import memory
from dml.cli.shared.options import Parser, as_keys, trainer_parser, with_default
from dml.errors import UserError

if TYPE_CHECKING:  # importing them loads torch, which --help must not
    from dml.cli.trainer import TrainerCLI
    from dml.experiments.plan import Forecast, Schedule

_ALONE = ("devices=1", "num_nodes=1", "strategy=auto")  # of the trainer


class _Step(NamedTuple):
    """What is expected of a step before one is tried."""

    images: int
    memory: int  # bytes
    seconds: float


class _Plan(NamedTuple):
    """What a training takes."""

    step: _Step
    schedule: "Schedule"
    forecast: "Forecast"
    processes: int
    triplets: int  # of a step
    peak: int  # bytes
    before: float  # seconds before the first step
    after: float  # and after the last

    @property
    def training(self) -> float:
        """Seconds from the first step to the last, evaluations between them included."""
        return self.forecast.training(self.schedule, self.processes)

    @property
    def seconds(self) -> float:
        """Seconds in all."""
        return self.before + self.training + self.after


def main(arguments: list[str]) -> int:
    """Print what a step, an evaluation and the whole training take; return 0."""
    began = time.perf_counter()
    options, keys = build_parser().parse_known_args(arguments)
    with json_alone(options.json) as print_json:
        found = _plan(options, keys, began)
        if options.json:
            print_json(_numbers(found))
        else:
            print("\n".join(f"{name:<11} {told}" for name, told in _rows(found).items()))
    return 0


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = trainer_parser("plan", "Estimate what training will take: memory, time and evaluation; nothing is kept.")
    parser.add_argument(
        "--memory", type=memory, metavar="SIZE", help="what training may use, e.g. 8GiB (what the device has)"
    )
    add_json(parser)
    return parser


def _plan(options: argparse.Namespace, keys: list[str], began: float) -> _Plan:
    words = as_keys(with_default(options.config, keys), keys)

    from dml.cli.running.guards import user_errors
    from dml.cli.trainer import TrainerCLI  # loads torch, which --help must not
    from dml.neighbors.memory import parse_memory

    limit = None if options.memory is None else parse_memory(options.memory)
    whole = TrainerCLI(words, None)  # refuses a device that is not there
    starting = time.perf_counter() - began
    processes = max(1, whole.trainer.world_size)
    share: tuple[str, ...] = ()
    if processes > 1 and (size := getattr(whole.datamodule, "batch_size", None)):
        share = (f"--data.batch_size={-(-size // processes)}",)  # one of them is measured
    with tempfile.TemporaryDirectory() as folder, user_errors():
        run = Path(folder) / "run"
        run.mkdir()
        alone = TrainerCLI([*words, *(f"--trainer.{key}" for key in _ALONE), *share], run)
        return _measure(alone, processes, limit, starting)


def _measure(cli: "TrainerCLI", processes: int, limit: int | None, starting: float) -> _Plan:
    """Estimate a step, and rehearse a few of them and the evaluations."""
    from dml.cli.running.rehearsal import rehearse, schedule_of
    from dml.experiments import plan

    began = time.perf_counter()
    cli.datamodule.setup("fit")
    cli.model.build_for(cli.datamodule)
    starting += time.perf_counter() - began
    device = cli.trainer.strategy.root_device
    limit = limit or plan.available_memory(device)
    loader: Any = cli.datamodule.train_dataloader()
    schedule = schedule_of(cli.trainer, len(loader))
    step = _expect(cli, next(iter(loader)), limit)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        done = rehearse(cli, schedule, step.seconds)
    peak = plan.peak_memory(device)
    if peak > limit:
        told = f"a step of {step.images} images took {plan.mib(peak)} and there are {plan.mib(limit)}"
        raise UserError(f"{told}: lower --data.batch_size, --data.eval_batch_size or --evaluation.max_memory")
    counts = [plan.triplets(labels) for labels in done.clock.labels]
    tuples = round(sum(counts) / max(1, len(counts)))
    forecast = plan.Forecast.of(done.clock.epochs)
    return _Plan(step, schedule, forecast, processes, tuples, peak, starting + done.before, done.after)


def _expect(cli: "TrainerCLI", batch: Any, limit: int) -> _Step:
    """Estimate a step on a batch, and refuse one that would not fit."""
    from dml.experiments import plan

    module, trainer = cli.model, cli.trainer
    images, chunk = len(batch.labels), getattr(module, "chunk_size", None)
    at_once = images if chunk is None else min(images, chunk)
    device, network = trainer.strategy.root_device, plan.network_of(module)
    found = plan.estimate(network, tuple(cli.datamodule.image_shape))
    held = plan.peak_memory(device)
    plan.check_fits(found, held, at_once, images, limit, chunks=hasattr(module, "chunk_size"))
    passing = plan.forward_seconds(network, batch.images[:at_once], device, trainer.precision_plugin, learning=True)
    return _Step(images, held + found.memory(at_once), found.passes * passing * images / at_once)


def _rows(found: _Plan) -> dict[str, str]:
    """Return what is printed, line by line."""
    from dml.experiments.plan import mib, seconds

    step, schedule, forecast = found.step, found.schedule, found.forecast
    whose = f", on one of {found.processes} processes" if found.processes > 1 else ""
    told = f"{schedule.steps} steps an epoch, {schedule.epochs} epochs{whose}"
    return {
        "step": f"{step.images} images, {found.triplets:,} triplets; {told}",
        "memory": f"{mib(step.memory)} estimated, {mib(found.peak)} measured",
        "time": f"{seconds(step.seconds)} a step estimated, {seconds(forecast.step)} measured",
        "evaluation": f"{seconds(forecast.validation)} each, {schedule.validations} while training",
        "training": f"{seconds(found.training)}, its evaluations included",
        "in all": f"{seconds(found.seconds)}, {seconds(found.before)} of it before training (data, baselines) "
        f"and {seconds(found.after)} after it (scores and pictures)",
    }


def _numbers(found: _Plan) -> dict[str, Any]:
    """Return the same for --json."""
    return {
        "images_per_step": found.step.images,
        "triplets_per_step": found.triplets,
        "steps_per_epoch": found.schedule.steps,
        "epochs": found.schedule.epochs,
        "processes": found.processes,
        "memory_bytes": {"estimated": found.step.memory, "measured": found.peak},
        "step_seconds": {"estimated": found.step.seconds, "measured": found.forecast.step},
        "evaluation_seconds": found.forecast.validation,
        "before_training_seconds": found.before,
        "training_seconds": found.training,
        "after_training_seconds": found.after,
        "seconds": found.seconds,
    }
