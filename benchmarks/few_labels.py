"""E5 of the reference experiments: what an autoencoder's encoder is worth where few images are labelled (MNIST).

    python benchmarks/few_labels.py --root datasets/mnist

An MLP head of three linear layers on the encoder frozen, trained on, and from scratch. Steps and learning rate of each
kind are chosen on validation images under a seed of their own; then every seed draws other labelled images and weights,
is watched on the validation images while it trains, and reads the test images once.
"""

import argparse
import itertools
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import torch
from autoencoders import Part, note, publish_seeds
from lightning.pytorch import Callback, LightningModule, Trainer

from dml.data import ImageData
from dml.encoders import Encoder, StridedConvEncoder, pretrained_encoder
from dml.heads import MLPHead
from dml.modules import ClassifierModule

KINDS = ("frozen", "full", "scratch")
LABELLED = [1, 5, 10, 50, 100]  # images of each class
SHOWN_LABELLED = [1, 10, 100]  # of these, those in the results table
CHOOSING_SEED = 100  # draws labelled images that no reported seed draws
CHOOSING_LABELLED = [1, 10, 100]
STEPS = [300, 1000, 2000]
RATES = [0.0005, 0.002, 0.01]
WATCHED = 20  # times while training


class Recipe(NamedTuple):
    """How a head is trained."""

    steps: int
    rate: float


class Watched(NamedTuple):
    """A head that was trained: accuracies of validation and test images, and the curves by step."""

    val: float
    test: float
    curves: dict[str, list[list[float]]]


class Watch(Callback):
    """Keep step, loss and accuracy of every validation."""

    def __init__(self) -> None:
        self.curves: dict[str, list[list[float]]] = {"val/loss": [[], []], "val/accuracy": [[], []]}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at what was logged."""
        for name, (steps, values) in self.curves.items():
            steps.append(trainer.global_step)
            values.append(round(float(trainer.callback_metrics[name]), 5))


def train_head(kind: str, run: Path, data: ImageData, seed: int, recipe: Recipe, watch: bool) -> Watched:
    """Train a head of three linear layers; the test images are read only where it is watched."""
    torch.manual_seed(seed)
    scratch = StridedConvEncoder(embedding_dim=15, sigmoid=True)
    encoder: Encoder = scratch if kind == "scratch" else pretrained_encoder(str(run))
    module = ClassifierModule(
        encoder,
        MLPHead(num_classes=10, hidden_sizes=[64, 32]),
        freeze_encoder=kind == "frozen",
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=recipe.rate),
    )
    watching = Watch()
    epochs = -(-recipe.steps // len(data.train_dataloader()))
    trainer = Trainer(
        max_steps=recipe.steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        check_val_every_n_epoch=max(1, epochs // WATCHED) if watch else epochs,
        limit_val_batches=6,
        limit_test_batches=20,
        num_sanity_val_steps=0,
        callbacks=[watching],
    )
    trainer.fit(module, datamodule=data)
    val = watching.curves["val/accuracy"][1][-1]
    if not watch:
        return Watched(val, float("nan"), {})
    trainer.test(module, datamodule=data, verbose=False)
    return Watched(val, float(trainer.callback_metrics["test/accuracy"]), watching.curves)


def choose(kind: str, part: Part, run: Path) -> tuple[Recipe, dict[str, float]]:
    """Return the recipe with the best mean validation accuracy over numbers of labels, and all of them."""
    found: dict[Recipe, float] = {}
    for steps, rate in itertools.product(STEPS, RATES):
        if kind != "frozen" and steps == max(STEPS):
            continue  # a step of the whole network costs five times a head's
        recipe = Recipe(steps, rate)
        values = [
            train_head(kind, run, labelled_data(part, number, CHOOSING_SEED), CHOOSING_SEED, recipe, watch=False).val
            for number in CHOOSING_LABELLED
        ]
        found[recipe] = statistics.mean(values)
        print(f"{kind}: {steps} steps at {rate}: validation {found[recipe]:.4f}", flush=True)
    best = max(found, key=lambda recipe: found[recipe])
    return best, {f"{recipe.steps} steps at {recipe.rate}": value for recipe, value in found.items()}


def labelled_data(part: Part, number: int, seed: int) -> ImageData:
    return part.data(labelled_per_class=number, seed=seed, batch_size=50)


def compare(part: Part) -> None:
    """Train every kind on every number of labels under every seed."""
    run = part.autoencoder("E5_autoencoder", "autoencoder_e5")
    recipes, choices = {}, {}
    for kind in KINDS:
        recipes[kind], choices[kind] = choose(kind, part, run)
    accuracies: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    curves: dict[str, dict[str, list[Any]]] = {kind: {} for kind in KINDS}
    for kind, number, seed in itertools.product(KINDS, LABELLED, part.seeds):
        trained = train_head(kind, run, labelled_data(part, number, seed), seed, recipes[kind], watch=True)
        accuracies[kind].setdefault(str(number), []).append(trained.test)
        curves[kind].setdefault(str(number), []).append(trained.curves)
        print(f"{number} labels a class, {kind}, seed {seed}: {trained.test:.4f}", flush=True)
    chosen = {kind: recipe._asdict() for kind, recipe in recipes.items()}
    note("e5", {"accuracy": accuracies, "curves": curves, "recipes": chosen, "choices": choices})
    for kind, table in accuracies.items():
        publish_seeds(f"E5_{kind}", part.seeds, {f"accuracy_{n}": table[str(n)] for n in SHOWN_LABELLED})
        cells = [f"{statistics.mean(v):.3f} ± {statistics.stdev(v):.3f}" for v in table.values() if len(v) > 1]
        print(f"{kind:8} {'  '.join(cells)}")


def report() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="MNIST's folder, as torchvision has it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--runs_dir", type=Path, default=Path("runs/autoencoders"))
    options = parser.parse_args()
    compare(Part(options.root, options.runs_dir, options.seeds))


if __name__ == "__main__":
    report()
