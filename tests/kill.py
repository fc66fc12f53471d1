"""Kills trainings at every kind of moment, resumes them, and compares them with the run that nobody killed.

`python tests/kill.py` prints the table of all recipes and moments, `--short` a few of them. Equal means bit for bit:
weights, optimiser, schedules, callbacks' states and best checkpoint, scores.json, and every point of every curve.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import dml.callbacks.checkpoints
import dml.cli.trainer
from dml.cli import main
from dml.modules import AutoencoderModule, ClassifierModule, EmbeddingModule

SMALL = """
seed_everything: 3
trainer: {max_epochs: 4, log_every_n_steps: 1, enable_progress_bar: false, accelerator: cpu}
model:
  class_path: dml.modules.EmbeddingModule
  init_args:
    encoder:
      class_path: dml.encoders.MLPEncoder
      init_args: {embedding_dim: 8, hidden_sizes: [16], dropout: 0.3}
    loss: {class_path: dml.losses.TripletLoss, init_args: {margin: 0.5}}
    optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.003}}
data:
  split: {class_path: dml.data.StratifiedSplit, init_args: {val: 0.2, test: 0}}
  labelled_share: 0.3
  batch_size: 60
evaluation: {baselines: false}
pictures: {projection: none, gallery_queries: 1, gallery_neighbors: 1}
"""
PML = "pytorch_metric_learning.losses"
RECIPES: dict[str, list[str]] = {
    "dropout": [],
    "augmentation, OneCycle": [
        *("--data.transform", "dml.data.Augmentation", "--data.transform.crop_padding", "1"),
        *("--model.lr_scheduler", "torch.optim.lr_scheduler.OneCycleLR", "--model.lr_interval", "step"),
        *("--model.lr_scheduler.max_lr", "0.01", "--model.lr_scheduler.total_steps", "100"),
    ],
    "ReduceLROnPlateau": [
        *("--model.lr_scheduler", "lightning.pytorch.cli.ReduceLROnPlateau"),
        *("--model.lr_scheduler.monitor", "val/loss", "--model.lr_scheduler.patience", "0"),
        *("--model.lr_scheduler.threshold", "0.5"),
    ],
    "CrossBatchMemory": [
        *("--model.loss", "dml.losses.CrossBatchMemory", "--model.loss.loss", "dml.losses.TripletLoss"),
        *("--model.loss.loss.margin", "0.5"),
        *("--model.loss.memory_size", "150", "--model.loss.embedding_dim", "8"),
    ],
    "pml CrossBatchMemory": [
        *("--model.loss", f"{PML}.CrossBatchMemory", "--model.loss.loss", f'{{"class_path": "{PML}.ContrastiveLoss"}}'),
        *("--model.loss.memory_size", "150", "--model.loss.embedding_size", "8"),
    ],
    "proxies": [
        *("--model.loss", f"{PML}.ProxyAnchorLoss", "--model.loss.num_classes", "10"),
        *("--model.loss.embedding_size", "8", "--model.loss_lr", "0.1"),
    ],
    "decoded on the way": [
        "--data.root",
        "photos",
        "--data.memory_limit",
        "0",
        "--data.workers",
        "2",
        "--data.batch_size",
        "8",
    ],
    "EMA": ["--trainer.callbacks", "lightning.pytorch.callbacks.EMAWeightAveraging"],
    "AMP scaler": [
        *("--trainer.plugins", "lightning.pytorch.plugins.MixedPrecision"),
        *("--trainer.plugins.precision", "16-mixed", "--trainer.plugins.device", "cpu"),
    ],
    "bf16-mixed": ["--trainer.precision", "bf16-mixed"],
    "early stopping": [
        *("--trainer.callbacks", "lightning.pytorch.callbacks.EarlyStopping"),
        *("--trainer.callbacks.monitor", "val/map_at_r", "--trainer.callbacks.patience", "1"),
        *("--trainer.callbacks.mode", "max", "--trainer.max_epochs", "8", "--model.optimizer.lr", "0.03"),
    ],
    "accumulated gradients": ["--trainer.accumulate_grad_batches", "3", "--checkpoint.every_n_steps", "1"],
    "every 2 steps, clipped": ["--checkpoint.every_n_steps", "2", "--trainer.gradient_clip_val", "1"],
    "validated twice an epoch": ["--trainer.val_check_interval", "0.5", "--checkpoint.every_n_steps", "1"],
    "gradual unfreezing": [
        *("--model", "dml.modules.ClassifierModule", "--model.encoder", "dml.encoders.MLPEncoder"),
        *("--model.encoder.hidden_sizes", "[16]", "--model.encoder.dropout", "0.3"),
        *("--model.head", "dml.heads.MLPHead", "--model.head.num_classes", "10", "--model.freeze_encoder", "true"),
        *("--model.unfreeze_every", "1", "--model.encoder_lr", "0.001"),
    ],
    "denoising, variational": [
        *("--model", "dml.modules.AutoencoderModule", "--model.encoder", "dml.encoders.LinearEncoder"),
        *("--model.encoder.embedding_dim", "4", "--model.decoder", "dml.decoders.MLPDecoder"),
        *("--model.loss", "torch.nn.MSELoss"),
        *("--model.noise_std", "0.1", "--model.beta", "0.1"),
    ],
}
MODULES = (EmbeddingModule, ClassifierModule, AutoencoderModule)


def stop_self(number: int) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), number)


def at_call(owner: Any, name: str, call: int, act: Callable[[], None]) -> None:
    """Act before the n-th call of a method, counted from 1."""
    before = getattr(owner, name)
    calls = [0]

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            act()
        return before(*args, **kwargs)

    setattr(owner, name, counted)


def in_training(number: int, step: int) -> Callable[[], None]:
    """Send the signal in the n-th training step."""

    def arm() -> None:
        for module in MODULES:
            at_call(module, "training_step", step, lambda: stop_self(number))

    return arm


def in_validation(number: int, call: int) -> Callable[[], None]:
    """Send the signal in the n-th validation step."""

    def arm() -> None:
        for module in MODULES:
            at_call(module, "validation_step", call, lambda: stop_self(number))

    return arm


def while_writing(call: int) -> Callable[[], None]:
    """Kill while the n-th checkpoint is half written."""

    def die_halfway(checkpoint: Any, file: Any) -> None:
        file.write(b"PK\x03\x04half a checkpoint")
        file.flush()
        stop_self(signal.SIGKILL)

    def arm() -> None:
        save = torch.save

        def counted(*args: Any, **kwargs: Any) -> None:
            counted.calls += 1  # type: ignore[attr-defined]
            (die_halfway if counted.calls == call else save)(*args, **kwargs)  # type: ignore[attr-defined]

        counted.calls = 0  # type: ignore[attr-defined]
        dml.callbacks.checkpoints.torch.save = counted  # type: ignore[attr-defined]

    return arm


def moments(steps: int, epochs: int, rng: random.Random) -> dict[str, list[Callable[[], None]]]:
    """Return the kinds of moment, each as what is done to one start after another; the last start is left alone."""
    any_step = [rng.randint(1, steps) for _ in range(6)]
    per_epoch = steps // epochs
    last = per_epoch * rng.randint(1, epochs - 1)
    return {
        "killed in a step": [in_training(signal.SIGKILL, any_step[0])],
        "killed 4 times": [in_training(signal.SIGKILL, 1 + step % (per_epoch + 2)) for step in any_step[1:5]],
        "killed while writing": [while_writing(rng.randint(2, 2 * epochs - 1))],
        "killed in validation": [in_validation(signal.SIGKILL, rng.randint(2, epochs))],
        "SIGTERM, last batch": [in_training(signal.SIGTERM, last), in_validation(signal.SIGTERM, 1)],
        "SIGINT, at the end": [in_training(signal.SIGINT, any_step[5]), in_training(signal.SIGINT, steps)],
    }


def start(arm: Callable[[], None] | None, words: list[str]) -> int:
    """Run `dml` in a forked process, armed; return its exit code, negative where a signal ended it."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1), os.dup2(log, 2)
            if arm is not None:
                arm()
            code = main(words)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train(name: str, keys: list[str], arms: list[Callable[[], None]]) -> int:
    """Train a run, ended and resumed once for each arm; return how often it was ended."""
    words = ["fit", "--config", "small.yaml", *keys, "--name", name]
    for ended, arm in enumerate([*arms, None]):
        code = start(arm, words if not Path("runs", name).exists() else [*words, "--ckpt_path", "last"])
        if code == 0:
            return ended
        if code not in (-signal.SIGKILL, 130):
            raise RuntimeError(f"{name}: exit code {code}\n" + Path("log.txt").read_text()[-3000:])
    raise RuntimeError(f"{name} never ended")


def states(name: str) -> dict[str, Any]:
    """Return everything a run came to: checkpoints, scores and curves, flat."""
    found: dict[str, Any] = {}
    for checkpoint in ("last", "best"):
        held = torch.load(Path("runs", name, "checkpoints", f"{checkpoint}.ckpt"), weights_only=True)
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "remembered_by_loss", "current_model_state"):
            found |= flat(held.get(key), f"{checkpoint} {key}")
        found |= flat(held.get("MixedPrecision"), f"{checkpoint} scaler")
        for callback, state in held["callbacks"].items():
            if callback.startswith(("EarlyStopping", "TrainingWatch", "RandomState")):
                found |= flat(state, f"{checkpoint} {callback}")
    found["scores.json"] = Path("runs", name, "scores.json").read_bytes()
    return found | curves(name)


def flat(value: Any, name: str) -> dict[str, Any]:
    """Return the leaves of nested values by their path."""
    if isinstance(value, dict):
        return {path: leaf for key, each in value.items() for path, leaf in flat(each, f"{name}.{key}").items()}
    if isinstance(value, list | tuple):
        return {path: leaf for i, each in enumerate(value) for path, leaf in flat(each, f"{name}.{i}").items()}
    return {name: value.numpy().tobytes() if isinstance(value, torch.Tensor) else value}


def curves(name: str) -> dict[str, Any]:
    """Return the points of all curves; what was logged twice, before and after a kill, must agree with itself."""
    points: dict[str, set[float]] = defaultdict(set)
    for file in Path("runs", name).glob("events.*"):
        events = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
        for tag in events.Tags()["scalars"]:
            for point in events.Scalars(tag):
                points[f"curve {tag} {point.step}"].add(point.value)
    return dict(points)


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the names of what differs, or is in one alone."""
    return sorted(
        key for key in one.keys() | other.keys() if key not in one or key not in other or not same(one, other, key)
    )


def same(one: dict[str, Any], other: dict[str, Any], key: str) -> bool:
    """Tell whether a value is the same in both; NaN is NaN."""
    return repr(one[key]) == repr(other[key])


@contextlib.contextmanager
def workplace() -> Iterator[None]:
    """Work in a folder of its own, with the small recipe and some photographs."""
    folder, home = tempfile.mkdtemp(), Path.cwd()
    os.chdir(folder)
    try:
        Path("small.yaml").write_text(SMALL)
        rng = np.random.default_rng(0)
        for label in range(4):
            Path(f"photos/{label}").mkdir(parents=True)
            for i in range(40):
                pixels = rng.integers(0, 256, (8, 8, 3)) // 2 + 32 * label
                Image.fromarray(pixels.astype(np.uint8)).save(f"photos/{label}/{i}.png")
        yield
    finally:
        os.chdir(home)
        shutil.rmtree(folder)


def count_steps(name: str) -> int:
    """Return the batches a run trained on."""
    held = torch.load(Path("runs", name, "checkpoints", "last.ckpt"), weights_only=True)
    return int(held["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"])


def compare(recipes: list[str], kinds: int, seed: int) -> int:
    """Print the table; return how many runs differ."""
    rng = random.Random(seed)
    equal = total = ended = 0
    with workplace():
        for r, recipe in enumerate(recipes):
            keys, began = RECIPES[recipe], time.perf_counter()
            train(f"whole-{r}", keys, [])
            whole = states(f"whole-{r}")
            epochs = 4
            steps = count_steps(f"whole-{r}")
            chosen = list(moments(steps, epochs, rng).items())
            chosen = [chosen[(r + i) % len(chosen)] for i in range(kinds)]
            for m, (moment, arms) in enumerate(chosen):
                name = f"ended-{r}-{m}"
                times = train(name, keys, arms)
                found = differences(whole, states(name))
                total, equal, ended = total + 1, equal + (not found), ended + times
                tail = "equal" if not found else f"{len(found)} differ: {', '.join(found[:3])}"
                print(f"{recipe:26} {moment:22} ended {times}  {tail}", flush=True)
                shutil.rmtree(Path("runs", name))
            print(f"{'':26} {steps} steps, {time.perf_counter() - began:.0f} s", flush=True)
    print(f"{equal} of {total} runs equal; they were ended {ended} times; {len(whole)} values of the last one compared")
    return total - equal


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="one moment each of two recipes")
    parser.add_argument("--recipe", action="append", help="only this one")
    parser.add_argument("--kinds", type=int, default=5, help="moments per recipe")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # before the first fork: OpenMP's threads do not survive it
    Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)  # imports what every run needs
    names = options.recipe or list(RECIPES)
    short = ["ReduceLROnPlateau", "pml CrossBatchMemory"]
    sys.exit(compare(short, 1, options.seed) if options.short else compare(names, options.kinds, options.seed))
