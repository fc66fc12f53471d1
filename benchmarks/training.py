"""What `fit` costs beside a bare PyTorch loop, and how soon it is as good as the same job written by hand.

    python benchmarks/training.py overhead [--batches 6] [--repeats 3] [--encoder alexnet|mlp] [--clock processor]
    python benchmarks/training.py sooner --root FLOWERS/train [--target 0.8] [--limit 900]

overhead: seconds a step of `dml fit` (its callbacks, its logging) and of a loop of the same operations: batches from
the same loader, forward, loss, backward, optimiser. AlexNet-style encoder at batch 1,024 on noise of CIFAR-10's shape,
and an MLP on the digits. Both sides take turns in one process; the medians of the steps after the first are compared.

sooner: seconds from reading the first file until the nearest training image of `target` of the validation images is of
their class, of `EmbeddingModule`, `ImageData` and a plain `lightning.Trainer` beside torchvision's ImageFolder,
transforms and DataLoader with two workers, and pytorch-metric-learning's loss, MPerClassSampler and
AccuracyCalculator. Images, encoder, its first weights, loss, optimiser, images of each class in a batch, and when it is
scored are the same.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
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
SIDE, CLASSES, PER_CLASS, EVERY = 64, 12, 5, 5  # pixels, classes of the flowers, images of each in a batch, epochs


class Clock(Callback):
    """Notes when every training batch ends.

    Args:
        now: Seconds of the wall, or of the processor where others use the machine too.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.ends: list[float] = []
        self.now = now

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note it."""
        self.ends.append(self.now())


def steps_of_fit(keys: list[str], folder: Path, now: Callable[[], float]) -> list[float]:
    """Seconds of each step of `dml fit` after the first."""
    folder.mkdir(parents=True)
    cli = TrainerCLI(keys, folder)
    clock = Clock(now)
    cli.trainer.callbacks.append(clock)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    return list(np.diff(clock.ends))


def steps_of_loop(encoder: torch.nn.Module, data: ImageData, epochs: int, now: Callable[[], float]) -> list[float]:
    """Seconds of each step of a bare loop after the first."""
    data.setup()
    materialize(encoder, data.image_shape)
    encoder.train()
    loss = TripletLoss(margin=0.5)
    optimizer = torch.optim.Adam(encoder.parameters())
    ends, loader = [], data.train_dataloader()
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            value = loss(encoder(batch.images), batch.labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            ends.append(now())
    return list(np.diff(ends))


def overhead(kind: str, batches: int, repeats: int, now: Callable[[], float]) -> None:
    """Print the median step of both sides and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common = ["--trainer.accelerator=cpu", "--evaluation.baselines=false", "--data.cache=false"]
        common += ["--trainer.enable_progress_bar=false", "--data.on_flaw=keep", "--model.loss.margin=0.5"]
        if kind == "alexnet":
            size, epochs, root = 1024, 1, str(folder / "noise.npz")
            pixels = np.random.default_rng(0).integers(0, 256, (batches * size + 100, 32, 32, 3), np.uint8)
            np.savez(root, images=pixels, labels=np.arange(len(pixels)) % 10)
            own = ["--model.encoder=dml.encoders.AlexNetEncoder", f"--data.root={root}"]
        else:
            size, epochs, root = 128, batches, None
            own = ["--model.encoder=dml.encoders.MLPEncoder", "--model.encoder.embedding_dim=16"]
        split = ["--data.split=dml.data.StratifiedSplit", "--data.split.val=100", "--data.split.test=0"]
        keys = ["--model=dml.modules.EmbeddingModule", *own, "--model.loss=dml.losses.TripletLoss", *common, *split]
        keys += [f"--data.batch_size={size}", "--data.drop_last=true", f"--trainer.max_epochs={epochs}"]
        keys += [f"--trainer.check_val_every_n_epoch={epochs + 1}"]
        fits, loops = [], []
        for repeat in range(repeats):
            fits += steps_of_fit(keys, folder / f"run{repeat}", now)
            encoder = AlexNetEncoder() if kind == "alexnet" else MLPEncoder(16)
            part = StratifiedSplit(val=100, test=0)
            data = ImageData(root, split=part, batch_size=size, drop_last=True, cache=False, on_flaw="keep")
            loops += steps_of_loop(encoder, data, epochs, now)
        fit, loop = statistics.median(fits), statistics.median(loops)
        print(f"{kind}, batch {size}: fit {1e3 * fit:.2f} ms a step, loop {1e3 * loop:.2f} ms, ratio {fit / loop:.3f}")


def first_encoder() -> ConvEncoder:
    """Return the encoder of both sides with the same first weights."""
    torch.manual_seed(0)
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


def ours(root: str, target: float, limit: float) -> Reached:
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
    )
    module = EmbeddingModule(
        first_encoder(), TripletLoss(0.2, squared=False, reduction="mean_nonzero"), None, optimizer_of
    )
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    callbacks = [KNNEvaluation(k=36, baselines=False), reached]
    trainer = Trainer(max_epochs=1000, check_val_every_n_epoch=EVERY, callbacks=callbacks, **quiet)
    trainer.fit(module, datamodule=data)
    return reached


def by_hand(root: str, target: float, limit: float) -> Reached:
    """Train as users do today."""
    split = ImageData(root, image_size=SIDE, split=StratifiedSplit(val=120, test=0), cache=False)
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
    encoder, loss = first_encoder(), TripletMarginLoss(margin=0.2)
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


def sooner(root: str, target: float, limit: float) -> None:
    """Print when each side reached the target."""
    seconds = {}
    for name, side in (("dml", ours), ("by hand", by_hand)):
        print(name)
        seconds[name], score = side(root, target, limit).scores[-1]
        if score < target:
            print(f"  {target} was not reached within {limit:.0f} s")
    own, other = seconds["dml"], seconds["by hand"]
    print(f"dml {own:.1f} s, by hand {other:.1f} s: {other / own:.1f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    first = verbs.add_parser("overhead")
    first.add_argument("--batches", type=int, default=6)
    first.add_argument("--repeats", type=int, default=3)
    first.add_argument("--encoder", choices=["alexnet", "mlp"], nargs="+", default=["alexnet", "mlp"])
    first.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: where others use the machine too")
    second = verbs.add_parser("sooner")
    second.add_argument("--root", required=True)
    second.add_argument("--target", type=float, default=0.8)
    second.add_argument("--limit", type=float, default=900, help="seconds for each side")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    if options.verb == "sooner":
        sooner(options.root, options.target, options.limit)
    else:
        for kind in options.encoder:
            overhead(kind, options.batches, options.repeats, CLOCKS[options.clock])


if __name__ == "__main__":
    main()
