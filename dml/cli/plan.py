"""`dml plan`: what training will take, before it is started."""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dml.cli.shared.json_output import add_json, json_alone
from dml.cli.shared.numbers import memory
from dml.cli.shared.options import Parser, as_keys, trainer_parser, with_default
from dml.errors import UserError

if TYPE_CHECKING:  # importing them loads torch, which --help must not
    from dml.cli.trainer import TrainerCLI
    from dml.experiments.plan import StepClock

_ALONE = ("devices=1", "num_nodes=1", "strategy=auto", "logger=false", "enable_progress_bar=false")  # of the trainer


def main(arguments: list[str]) -> int:
    """Print what a step, an evaluation and all of training take; return 0."""
    options, keys = build_parser().parse_known_args(arguments)
    with json_alone(options.json) as print_json:
        rows, numbers = _plan(options, keys)
        if options.json:
            print_json(numbers)
        else:
            print("\n".join(f"{name:<11} {told}" for name, told in rows.items()))
    return 0


def _plan(options: argparse.Namespace, keys: list[str]) -> tuple[dict[str, str], dict[str, Any]]:
    words = as_keys(with_default(options.config, keys), keys)

    from dml.cli.running.guards import user_errors
    from dml.cli.trainer import TrainerCLI  # loads torch, which --help must not
    from dml.neighbors.memory import parse_memory

    limit = None if options.memory is None else parse_memory(options.memory)
    whole = TrainerCLI(words, None)  # refuses a device that is not there
    processes = max(1, whole.trainer.world_size)
    share: tuple[str, ...] = ()
    if processes > 1 and (size := getattr(whole.datamodule, "batch_size", None)):
        share = (f"--data.batch_size={-(-size // processes)}",)  # one of them is measured
    with tempfile.TemporaryDirectory() as folder, user_errors():
        alone = TrainerCLI([*words, *(f"--trainer.{key}" for key in _ALONE), *share], Path(folder) / "run")
        return _measure(alone, processes, limit)


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = trainer_parser("plan", "Estimate what training will take: memory, time and evaluation; nothing is kept.")
    parser.add_argument(
        "--memory", type=memory, metavar="SIZE", help="what training may use, e.g. 8GiB (what the device has)"
    )
    add_json(parser)
    return parser


def _measure(cli: "TrainerCLI", processes: int, limit: int | None) -> tuple[dict[str, str], dict[str, Any]]:
    """Estimate, run a few steps and a validation; return the findings in words, and in numbers."""
    from dml.experiments import plan

    trainer, module, data = cli.trainer, cli.model, cli.datamodule
    data.setup("fit")
    module.build(data.image_shape)
    device = trainer.strategy.root_device
    loader: Any = data.train_dataloader()
    steps = _limited(len(loader), trainer.limit_train_batches)
    batch = next(iter(loader))
    images, chunk = len(batch.labels), getattr(module, "chunk_size", None)
    encoder = getattr(module, "encoder", module)
    found = plan.estimate(encoder, tuple(data.image_shape))
    limit = limit or plan.available_memory(device)
    held = plan.peak_memory(device)
    at_once = images if chunk is None else min(images, chunk)
    plan.check_fits(found, held, at_once, images, limit, chunks=hasattr(module, "chunk_size"))
    expected = images * found.image_flops / plan.speed(device)

    clock = plan.StepClock()
    trainer.limit_train_batches = min(steps, plan.STEPS)
    epochs = plan.epochs_of(trainer.fit_loop.max_epochs, trainer.max_steps, steps)
    every = trainer.check_val_every_n_epoch or 1
    trainer.fit_loop.max_epochs = 3
    trainer.fit_loop.epoch_loop.max_steps = -1
    trainer.check_val_every_n_epoch = 1
    trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    cli.evaluation.with_baselines = False
    try:
        trainer.fit(module, datamodule=data)
    except plan.Measured:
        pass
    except SystemExit as stop:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from stop
    peak = plan.peak_memory(device)
    if peak > limit:
        raise UserError(f"a step of {images} images took {plan.mib(peak)} and there are {plan.mib(limit)}: {_LESS}")
    total = epochs * steps * clock.step + (epochs // every) * clock.epoch_end
    whose = f", on one of {processes} processes" if processes > 1 else ""
    rows = {
        "step": f"{images} images, {_tuples(clock):,} triplets; {steps} steps an epoch, {epochs} epochs{whose}",
        "memory": f"{plan.mib(held + found.memory(at_once))} estimated, {plan.mib(peak)} measured",
        "time": f"{plan.seconds(expected)} a step estimated, {plan.seconds(clock.step)} measured",
        "evaluation": f"{plan.seconds(clock.validation)} each, {epochs // every} while training and 3 beside it",
        "in all": f"{plan.seconds(total)} of training, evaluations included",
    }
    return rows, {
        "images_per_step": images,
        "triplets_per_step": _tuples(clock),
        "steps_per_epoch": steps,
        "epochs": epochs,
        "processes": processes,
        "memory_bytes": {"estimated": held + found.memory(at_once), "measured": peak},
        "step_seconds": {"estimated": expected, "measured": clock.step},
        "evaluation_seconds": clock.validation,
        "training_seconds": total,
    }


_LESS = "lower --data.batch_size, --data.eval_batch_size or --evaluation.max_memory"


def _tuples(clock: "StepClock") -> int:
    from dml.experiments.plan import triplets

    counts = [triplets(labels) for labels in clock.labels]
    return round(sum(counts) / max(1, len(counts)))


def _limited(batches: int, limit: int | float | None) -> int:
    """Return how many of an epoch's batches are trained on.

    Example:
        >>> _limited(20, None), _limited(20, 5), _limited(20, 0.5)
        (20, 5, 10)
    """
    if limit is None:
        return batches
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)
