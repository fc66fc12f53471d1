"""What `fit` costs beside a bare PyTorch loop, and how soon it is as good as the same job written by hand.

    python benchmarks/training.py overhead [--batches 8] [--encoder alexnet|mlp] [--clock processor]
    python benchmarks/training.py sooner --root FLOWERS/train [--target 0.8] [--limit 900] [--seeds 0 1 2]

overhead: seconds a step of `dml fit` (its callbacks, its logging) and of a loop of the same operations: batches from
the same loader, forward, loss, backward, optimiser. AlexNet-style encoder at batch 1,024 on noise of CIFAR-10's shape,
and an MLP on the digits. Both sides run in one process; the medians of as many steps are compared, after the first 20,
each of which `fit` logs and examines. Later ones it examines every 50.

sooner: seconds from reading the first file until the nearest training image of `target` of the validation images is of
their class, of `EmbeddingModule`, `ImageData` and a plain `lightning.Trainer` beside torchvision's ImageFolder,
transforms and DataLoader with two workers, and pytorch-metric-learning's loss, MPerClassSampler and
AccuracyCalculator. Images, encoder, its first weights, loss, optimiser, images of each class in a batch, and when it is
scored are the same. A third side is dml's with `precision: bf16-mixed` and `channels_last: true`. When a target is
first reached is a matter of luck: seconds are summed over seeds, and those of an epoch are told beside.
"""

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.samplers import MPerClassSampler
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from dml.callbacks import KNNEvaluation
from dml.cli.trainer import TrainerCLI
from dml.data import Augmentation, ImageData, StratifiedSplit
from dml.encoders import AlexNetEncoder, ConvEncoder, MLPEncoder, materialize
from dml.losses import TripletLoss
from dml.modules import EmbeddingModule

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
LOGGED, WARM = 20, 3  # steps: those that `fit` logs one by one, and those of a loop that do not count
SIDE, CLASSES, PER_CLASS, EVERY = 64, 12, 5, 5  # pixels, classes of the flowers, images of each in a batch, epochs


class Clock(Callback):
    """Notes when every training batch ends, and ends training after so many.

    Args:
        now: Seconds of the wall, or of the processor where others use the machine too.
        steps: How many.
    """

    def __init__(self, now: Callable[[], float], steps: int) -> None:
        self.ends: list[float] = []
        self.now = now
        self.steps = steps

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note it."""
        self.ends.append(self.now())
        trainer.should_stop = len(self.ends) == self.steps


def steps_of_fit(keys: list[str], folder: Path, steps: int, now: Callable[[], float]) -> list[float]:
    """Seconds of each step of `dml fit` after the first 20."""
    folder.mkdir(parents=True)
    cli = TrainerCLI(keys, folder)
    clock = Clock(now, LOGGED + steps)
    cli.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    return list(np.diff(clock.ends)[LOGGED - 1 :])


def steps_of_loop(encoder: torch.nn.Module, data: ImageData, steps: int, now: Callable[[], float]) -> list[float]:
    """Seconds of each step of a bare loop after the first few."""
    data.setup()
    materialize(encoder, data.image_shape)
    encoder.train()
    loss = TripletLoss(margin=0.5)
    optimizer = torch.optim.Adam(encoder.parameters())
    ends, loader = [], data.train_dataloader()
    for epoch in itertools.count():
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            value = loss(encoder(batch.images), batch.labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            ends.append(now())
            if len(ends) > steps + WARM:
                return list(np.diff(ends)[WARM:])
    raise AssertionError


def overhead(kind: str, steps: int, repeats: int, now: Callable[[], float]) -> None:
    """Print the median step of both sides and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common = ["--trainer.accelerator=cpu", "--evaluation.baselines=false", "--data.cache=false"]
        common += ["--trainer.enable_progress_bar=false", "--data.on_flaw=keep", "--model.loss.margin=0.5"]
        if kind == "alexnet":
            size, root = 1024, str(folder / "noise.npz")
            pixels = np.random.default_rng(0).integers(0, 256, (8 * size + 100, 32, 32, 3), np.uint8)
            np.savez(root, images=pixels, labels=np.arange(len(pixels)) % 10)
            own = ["--model.encoder=dml.encoders.AlexNetEncoder", f"--data.root={root}"]
        else:
            size, root = 128, None
            own = ["--model.encoder=dml.encoders.MLPEncoder", "--model.encoder.embedding_dim=16"]
        split = ["--data.split=dml.data.StratifiedSplit", "--data.split.val=100", "--data.split.test=0"]
        keys = ["--model=dml.modules.EmbeddingModule", *own, "--model.loss=dml.losses.TripletLoss", *common, *split]
        keys += [f"--data.batch_size={size}", "--data.drop_last=true", "--trainer.max_epochs=1000"]
        keys += ["--trainer.check_val_every_n_epoch=1000"]
        fits, loops = [], []
        for repeat in range(repeats):
            fits += steps_of_fit(keys, folder / f"run{repeat}", steps, now)
            encoder = AlexNetEncoder() if kind == "alexnet" else MLPEncoder(16)
            part = StratifiedSplit(val=100, test=0)
            data = ImageData(root, split=part, batch_size=size, drop_last=True, cache=False, on_flaw="keep")
            loops += steps_of_loop(encoder, data, steps, now)
        fit, loop = statistics.median(fits), statistics.median(loops)
        print(f"{kind}, batch {size}: fit {1e3 * fit:.2f} ms a step, loop {1e3 * loop:.2f} ms, ratio {fit / loop:.3f}")


def first_encoder(seed: int) -> ConvEncoder:
    """Return the encoder of all sides with the same first weights."""
    torch.manual_seed(seed)
    encoder = ConvEncoder(64, channels=[32, 64, 128], first_stride=2, normalize=True)
    materialize(encoder, (3, SIDE, SIDE))
    return encoder


def optimizer_of(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.05)


class Reached(Callback):
    """Stops the training at the target, or at the time limit."""

    def __init__(self, target: float, limit: float) -> None:
        self.target, self.limit, self.start = target, limit, time.perf_counter()
        self.scores: list[tuple[float, float]] = []

    def add(self, score: float) -> bool:
        """Note a score; tell whether it is enough."""
        seconds = time.perf_counter() - self.start
        self.scores.append((seconds, score))
        print(f"  {seconds:7.1f} s  {score:.3f}", flush=True)
        return score >= self.target or seconds > self.limit

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Look at Lightning's score."""
        if self.add(float(trainer.callback_metrics["val/recall_at_1"])):
            trainer.should_stop = True


def ours(root: str, target: float, limit: float, seed: int, fast: bool = False) -> Reached:
    """Train by dml from Python."""
    reached = Reached(target, limit)
    transform = Augmentation(resized_crop=0.35, flip=0.5, rotate=30, brightness=0.2, contrast=0.2, saturation=0.2)
    data = ImageData(
        root,
        image_size=SIDE,
        split=StratifiedSplit(val=120, test=0),
        batch_size=CLASSES * PER_CLASS,
        classes_per_batch=CLASSES,
        transform=transform,
        cache=False,
        seed=seed,
    )
    module = EmbeddingModule(
        first_encoder(seed),
        TripletLoss(0.2, squared=False, reduction="mean_nonzero"),
        None,
        optimizer_of,
        channels_last=fast,
    )
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "accelerator": "cpu",
    }
    precision: Any = "bf16-mixed" if fast else "32-true"
    callbacks = [KNNEvaluation(k=36, baselines=False), reached]
    trainer = Trainer(max_epochs=1000, check_val_every_n_epoch=EVERY, callbacks=callbacks, precision=precision, **quiet)
    trainer.fit(module, datamodule=data)
    return reached


def by_hand(root: str, target: float, limit: float, seed: int) -> Reached:
    """Train as users do today."""
    split = ImageData(root, image_size=SIDE, split=StratifiedSplit(val=120, test=0), cache=False, seed=seed)
    split.setup()  # not timed: it tells which images are held back
    names = [sorted(split.names_of(part)) for part in (split.parts.train, split.parts.val)]
    reached = Reached(target, limit)
    scale = [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    random = [transforms.RandomResizedCrop(SIDE, (0.35, 1.0)), transforms.RandomHorizontalFlip()]
    random += [transforms.RandomRotation(30), transforms.ColorJitter(0.2, 0.2, 0.2)]
    plain = [transforms.Resize(SIDE), transforms.CenterCrop(SIDE)]
    changed, fixed = (ImageFolder(root, transforms.Compose([*first, *scale])) for first in (random, plain))
    known = {Path(path).relative_to(root).as_posix(): place for place, (path, _) in enumerate(fixed.samples)}
    train, val = ([known[name] for name in part] for part in names)
    labels = [fixed.targets[place] for place in train]
    sampler = MPerClassSampler(labels, m=PER_CLASS, batch_size=CLASSES * PER_CLASS, length_before_new_iter=len(train))
    settings: dict[str, Any] = {"num_workers": 2, "persistent_workers": True}
    loader = DataLoader(Subset(changed, train), CLASSES * PER_CLASS, sampler=sampler, **settings)
    scored = [DataLoader(Subset(fixed, part), 512, **settings) for part in (val, train)]
    encoder, loss = first_encoder(seed), TripletMarginLoss(margin=0.2)
    optimizer = optimizer_of(encoder.parameters())
    calculator = AccuracyCalculator(include=("precision_at_1",), k=1, knn_func=CustomKNN(loss.distance))
    for epoch in range(1000):
        encoder.train()
        for images, own in loader:
            optimizer.zero_grad()
            loss(encoder(images), own).backward()
            optimizer.step()
        if epoch % EVERY == EVERY - 1:
            encoder.eval()
            with torch.no_grad():
                found = [[(encoder(images), own) for images, own in part] for part in scored]
            rows, classes = ([torch.cat([pair[which] for pair in part]) for part in found] for which in (0, 1))
            if reached.add(calculator.get_accuracy(rows[0], classes[0], rows[1], classes[1])["precision_at_1"]):
                break
    return reached


def sooner(root: str, target: float, limit: float, seeds: list[int]) -> None:
    """Print when each side reached the target, in all, and its seconds an epoch."""
    sides: dict[str, Callable[..., Reached]] = {"dml": ours, "dml, bf16": partial(ours, fast=True), "by hand": by_hand}
    reached: dict[str, list[Reached]] = {name: [] for name in sides}
    for seed, (name, side) in itertools.product(seeds, sides.items()):
        print(f"{name}, seed {seed}")
        reached[name].append(side(root, target, limit, seed))
        if reached[name][-1].scores[-1][1] < target:
            print(f"  {target} was not reached within {limit:.0f} s")
    total = {name: sum(each.scores[-1][0] for each in found) for name, found in reached.items()}
    epochs = {name: EVERY * sum(len(each.scores) for each in found) for name, found in reached.items()}
    for name in sides:
        rate, other = total[name] / epochs[name], total["by hand"] / epochs["by hand"]
        print(
            f"{name}: {total[name]:.1f} s and {epochs[name]} epochs to {target}, {total['by hand'] / total[name]:.1f} "
            f"times as soon as by hand; {rate:.2f} s an epoch, {other / rate:.1f} times as fast"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    first = verbs.add_parser("overhead")
    first.add_argument("--batches", type=int, default=8)
    first.add_argument("--repeats", type=int, default=2)
    first.add_argument("--encoder", choices=["alexnet", "mlp"], nargs="+", default=["alexnet", "mlp"])
    first.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: where others use the machine too")
    second = verbs.add_parser("sooner")
    second.add_argument("--root", required=True)
    second.add_argument("--target", type=float, default=0.8)
    second.add_argument("--limit", type=float, default=900, help="seconds for each side")
    second.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    if options.verb == "sooner":
        sooner(options.root, options.target, options.limit, options.seeds)
    else:
        for kind in options.encoder:
            overhead(kind, options.batches, options.repeats, CLOCKS[options.clock])


if __name__ == "__main__":
    main()
