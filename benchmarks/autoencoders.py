"""Part E of the reference experiments, E1 to E5, on MNIST: trained by `dml fit`, numbers from each run's scores.json.

    python benchmarks/autoencoders.py e1 --root datasets/mnist       then e2, e3, e4, e5

Runs that are there are not run again; e3 and e4 look at the runs of e1. The scores go to benchmarks/results/scores, all
that the notebook draws to benchmarks/results/autoencoders.json, pictures of images to notebooks/pictures.
"""

import argparse
import dataclasses
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from dml import reports, runs
from dml.cli import main
from dml.cli.trainer import TrainerCLI
from dml.data import ImageData, OfficialSplit, TorchvisionSet
from dml.encoders import Encoder, StridedConvEncoder, pretrained_encoder
from dml.heads import MLPHead
from dml.modules import AutoencoderModule, ClassifierModule
from dml.studies.codes import correlation_matrix, correlation_summary, interpolate_linear, interpolate_spherical
from dml.studies.figures import correlation_maps

HERE = Path(__file__).parent
CONFIGS = HERE.parent / "configs" / "mnist"
SCORES = HERE / "results" / "scores"
NUMBERS = HERE / "results" / "autoencoders.json"
PICTURES = HERE.parent / "notebooks" / "pictures"
DIMS = [*range(5, 15), *range(50, 56), *range(100, 105)]  # E1's
LONGER = [*range(100, 105)]  # trained for 6 epochs as well, at a rate of .005: 3 epochs leave them just above PCA
CURVES = [5, 10, 14, 50, 100]  # of E1's, those with curves and reconstructions
SHOWN_DIMS = [10, 50, 100]  # of E1's, those in the results table; 100 is the longer one
STRIPS = [3, 5, 10, 15, 40, 90, 100]  # E3's
MATRICES = [5, 10, 50, 100]  # of E4's, those with a picture
DEPTHS: dict[str, list[int]] = {"linear": [], "1": [256], "2": [256, 256], "3": [256, 256, 256]}  # hidden layers each
LABELLED = [1, 5, 10, 50, 100]  # images of each class
SHOWN_LABELLED = [1, 10, 100]  # of these, those in the results table
PAIRS = 200  # test images, two a pair, whose half-way images are measured in E3
# Steps and learning rate. A frozen code varies little (a sigmoid's, standard deviation .08), so its head is slow to
# learn; its steps cost a fifth of the others', as the encoder runs once per image.
TRAINING = {"frozen": (2000, 0.01), "full": (300, 0.002), "scratch": (300, 0.002)}
FEW_PICTURES = ("--pictures.projection=none", "--pictures.gallery_queries=1", "--pictures.gallery_neighbors=1")
BATCHES = 445  # of 128 in an epoch of 57,000 images
NORMALISED = {"mean": 0.1307, "std": 0.3081}  # as in the recipes


@dataclasses.dataclass(frozen=True)
class Part:
    """What every part is told.

    Args:
        root: MNIST's folder, as torchvision has it.
        runs_dir: Where the runs go.
        seeds: One run each.
        epochs: Of every autoencoder.
    """

    root: str
    runs_dir: Path
    seeds: list[int]
    epochs: int

    def autoencoder(self, name: str, recipe: str, *keys: str) -> Path:
        """Train a recipe and test it, unless the run is there; return its folder."""
        run = self.runs_dir / name
        if not (run / runs.SCORES).exists():
            shutil.rmtree(run, ignore_errors=True)  # what was interrupted
            start, processor = time.perf_counter(), time.process_time()
            schedule = f"--model.lr_scheduler.total_steps={self.epochs * BATCHES}"
            length = [f"--trainer.max_epochs={self.epochs}", schedule]
            where = [f"--data.source.root={self.root}", f"--runs_dir={self.runs_dir}", f"--name={name}"]
            _dml("fit", "--config", str(CONFIGS / f"{recipe}.yaml"), *length, *where, *FEW_PICTURES, *keys)
            seconds = {"wall": time.perf_counter() - start, "processor": time.process_time() - processor}
            runs.write_json(run / runs.SCORES, runs.read_json(run / runs.SCORES) | {"seconds": seconds})
        if "test" not in runs.read_json(run / runs.SCORES):
            _dml("test", "--run", name, "--runs_dir", str(self.runs_dir))
        return run

    def small(self, d: int, seed: int) -> Path:
        """Train E1's autoencoder with a code of d dimensions; return its folder."""
        keys = (f"--model.encoder.embedding_dim={d}", f"--seed_everything={seed}")
        return self.autoencoder(f"E1_d{d}_seed{seed}", "autoencoder_small", *keys)

    def longer(self, d: int, seed: int) -> Path:
        """Train it for 6 epochs at a higher rate; return its folder."""
        keys = (f"--model.encoder.embedding_dim={d}", f"--seed_everything={seed}", "--model.optimizer.lr=0.005")
        part = dataclasses.replace(self, epochs=6)
        name = f"E1_longer_d{d}_seed{seed}"
        return part.autoencoder(name, "autoencoder_small", *keys, "--model.lr_scheduler.max_lr=0.005")

    def data(self, **keys: Any) -> ImageData:
        """Return the images as the recipes split them, set up."""
        source = TorchvisionSet("MNIST", self.root, download=False)
        data = ImageData(source=source, split=OfficialSplit(val=0.05), cache=False, **NORMALISED, **keys)
        data.setup()
        return data


def _dml(*words: str) -> None:
    if code := main(list(words)):
        raise SystemExit(code)


def publish(name: str, seed: int, scores: dict[str, Any]) -> None:
    """Put scores beside the others of their row."""
    runs.write_json(SCORES / name / f"seed{seed}.json", scores)


def publish_seeds(name: str, seeds: Sequence[int], values: dict[str, list[float]]) -> None:
    """Put test scores, each with one value per seed, into one row."""
    for number, seed in enumerate(seeds):
        publish(name, seed, {"test": {score: column[number] for score, column in values.items()}})


def note(part: str, numbers: Any) -> None:
    """Keep what the notebook draws."""
    known = runs.read_json(NUMBERS) if NUMBERS.exists() else {}
    runs.write_json(NUMBERS, known | {part: numbers})


def draw(name: str, figure: Figure) -> None:
    runs.write_bytes(PICTURES / f"{name}.png", reports.png(figure))


def pixels_of(data: ImageData, ids: NDArray[np.int64]) -> Tensor:
    return data.thumbnails(torch.from_numpy(ids)).float() / 255


def pca_errors(data: ImageData, dims: Sequence[int]) -> dict[int, float]:
    """Return PCA's mean squared error per pixel on the test images, fitted to the training images, for each d."""
    train, test = (pixels_of(data, part).flatten(1).numpy() for part in (data.parts.train, data.parts.test))
    pca = PCA(max(dims), random_state=0).fit(train)
    explained = np.square(pca.transform(test)).cumsum(axis=1)  # of d axes, at column d-1
    total = np.square(test - pca.mean_).sum(axis=1)
    return {d: float((total - explained[:, d - 1]).mean() / test.shape[1]) for d in dims}


def autoencoder_of(run: Path) -> AutoencoderModule:
    """Return a run's trained autoencoder in evaluation mode."""
    cli = TrainerCLI(["--config", str(run / runs.CONFIG)], None)
    cli.datamodule.setup()
    module = cli.model
    assert isinstance(module, AutoencoderModule)
    module.build(cli.datamodule.image_shape, cli.datamodule.mean, cli.datamodule.std)
    module.load_state_dict(torch.load(runs.find_checkpoint(run, "best"), weights_only=True)["state_dict"])
    return module.eval()


def e1(part: Part) -> None:
    """Error against latent dimension, beside PCA; error against steps; reconstructions."""
    data = part.data()
    pca = pca_errors(data, [*DIMS, 30])  # 30: for the recipe beyond E1
    errors, curves = {}, {}
    for d in DIMS:
        for seed in part.seeds:
            run = part.small(d, seed)
            errors.setdefault(str(d), []).append(runs.read_json(run / runs.SCORES)["test"]["mse"])
            if d in SHOWN_DIMS:
                shown = runs.read_json((part.longer(d, seed) if d in LONGER else run) / runs.SCORES)
                publish(f"E1_d{d}", seed, shown | {"baselines": {"pca": {"test": {"mse": pca[d]}}}})
        if d in CURVES:
            losses = EventAccumulator(str(run)).Reload().Scalars("train/loss")
            curves[str(d)] = [[event.step + 1 for event in losses], [event.value for event in losses]]
    longer = {
        str(d): [runs.read_json(part.longer(d, seed) / runs.SCORES)["test"]["mse"] for seed in part.seeds]
        for d in LONGER
    }
    note("e1", {"mse": errors, "longer": longer, "pca": {str(d): error for d, error in pca.items()}, "curves": curves})
    originals = pixels_of(data, data.parts.test[:12])
    rows = {f"d = {d}": give_back(autoencoder_of(part.small(d, part.seeds[0])), originals) for d in CURVES}
    draw("autoencoder_reconstructions", reports.reconstruction_strip(originals.numpy(), rows))


@torch.no_grad()
def give_back(module: AutoencoderModule, pixels: Tensor) -> NDArray[np.float32]:
    reconstructions: NDArray[np.float32] = module((pixels - module.mean) / module.std).numpy()
    return reconstructions


def e2(part: Part) -> None:
    """Error against depth, d = 10, layers of 256 units."""
    errors: dict[str, list[float]] = {}
    for depth, sizes in DEPTHS.items():
        for seed in part.seeds:
            keys = (f"--model.encoder.hidden_sizes={sizes}", f"--model.decoder.hidden_sizes={sizes}")
            name = f"E2_{depth}_seed{seed}"
            run = part.autoencoder(name, "autoencoder_small", *keys, f"--seed_everything={seed}")
            errors.setdefault(depth, []).append(runs.read_json(run / runs.SCORES)["test"]["mse"])
    publish_seeds("E2", part.seeds, {f"mse_{depth}": values for depth, values in errors.items()})
    note("e2", {"mse": errors, "epochs": part.epochs})


INTERPOLATIONS = {"linear": interpolate_linear, "spherical": interpolate_spherical}


def e3(part: Part) -> None:
    """Paths between the codes of two digits; how far from any digit the half-way images of many pairs lie."""
    data = part.data()
    labels = data.catalog.labels[data.parts.test]
    train = pixels_of(data, data.parts.train).flatten(1)
    ends = pixels_of(data, data.parts.test[[int(np.flatnonzero(labels == digit)[0]) for digit in (7, 3)]])
    paths: dict[str, dict[str, Any]] = {kind: {} for kind in INTERPOLATIONS}
    distances = {}
    for d in STRIPS:
        module = autoencoder_of(part.small(d, part.seeds[0]))
        for kind in INTERPOLATIONS:
            paths[kind][f"d = {d}"] = decoded_path(module, ends, kind, 11).numpy()
        distances[str(d)] = halfway_distances(module, pixels_of(data, data.parts.test[:PAIRS]), train)
    publish("E3", part.seeds[0], {"nearest": distances["10"]})
    for kind, rows in paths.items():
        draw(f"interpolation_{kind}", reports.interpolation_strip(rows, f"{kind} interpolation of the code"))
    note("e3", distances)


@torch.no_grad()
def decoded_path(module: AutoencoderModule, ends: Tensor, kind: str, steps: int) -> Tensor:
    codes = module.encoder((ends - module.mean) / module.std)
    path: Tensor = module.decoder(INTERPOLATIONS[kind](codes[0], codes[1], steps))
    return path


def halfway_distances(module: AutoencoderModule, images: Tensor, train: Tensor) -> dict[str, float]:
    """Return the mean squared distance per pixel to the nearest training image of what lies half way between pairs."""
    pairs = images.unflatten(0, (-1, 2))  # (P, 2, C, H, W)
    halfway = {kind: torch.stack([decoded_path(module, p, kind, 3)[1] for p in pairs]) for kind in INTERPOLATIONS}
    halfway |= {"pixels": pairs.mean(dim=1), "ends": torch.from_numpy(give_back(module, images))}
    return {
        name: float(torch.cdist(rows.flatten(1), train).amin(dim=1).square().mean()) / train.shape[1]
        for name, rows in halfway.items()
    }


def e4(part: Part) -> None:
    """Correlation of the code's dimensions over the test images, in three summaries, against d."""
    data = part.data()
    images = (pixels_of(data, data.parts.test) - NORMALISED["mean"]) / NORMALISED["std"]
    summaries, matrices = {}, {}
    for d in sorted({*DIMS, *STRIPS}):
        with torch.no_grad():
            codes = pretrained_encoder(str(part.small(d, part.seeds[0]))).eval()(images)
        matrix = correlation_matrix(codes)
        summaries[str(d)] = correlation_summary(matrix)._asdict()
        if d in MATRICES:
            matrices[f"d = {d}"] = matrix.numpy()
    publish("E4", part.seeds[0], {f"d{d}": summaries[str(d)] for d in (10, 100)})
    note("e4", summaries)
    draw("correlation", correlation_maps(matrices, "Pearson correlation of the code's dimensions, test images"))


def e5(part: Part) -> None:
    """Accuracy of an MLP head on few labels: encoder frozen, trained on, and from scratch."""
    run = part.autoencoder("E5_autoencoder", "autoencoder_e5")
    table: dict[str, dict[str, list[float]]] = {}
    for labelled in LABELLED:
        for seed in part.seeds:
            data = part.data(labelled_per_class=labelled, seed=seed, batch_size=50)
            for kind in TRAINING:
                accuracy = head_accuracy(kind, run, data, seed)
                table.setdefault(kind, {}).setdefault(str(labelled), []).append(accuracy)
                print(f"{labelled} labels a class, {kind}, seed {seed}: {accuracy:.4f}", flush=True)
    note("e5", table)
    for kind, accuracies in table.items():
        publish_seeds(f"E5_{kind}", part.seeds, {f"accuracy_{n}": accuracies[str(n)] for n in SHOWN_LABELLED})
    for kind, accuracies in table.items():
        cells = [f"{statistics.mean(v):.3f} ± {statistics.stdev(v):.3f}" for v in accuracies.values() if len(v) > 1]
        print(f"{kind:8} {'  '.join(cells)}")


def head_accuracy(kind: str, run: Path, data: ImageData, seed: int) -> float:
    """Train a head of three linear layers; return its accuracy on the test images."""
    steps, rate = TRAINING[kind]
    torch.manual_seed(seed)
    scratch = StridedConvEncoder(embedding_dim=15, sigmoid=True)
    encoder: Encoder = scratch if kind == "scratch" else pretrained_encoder(str(run))
    module = ClassifierModule(
        encoder,
        MLPHead(num_classes=10, hidden_sizes=[64, 32]),
        freeze_encoder=kind == "frozen",
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=rate),
    )
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        limit_test_batches=20,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)
    return float(trainer.callback_metrics["test/accuracy"])


PARTS: dict[str, Callable[[Part], None]] = {"e1": e1, "e2": e2, "e3": e3, "e4": e4, "e5": e5}


def report() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--root", required=True, help="MNIST's folder, as torchvision has it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=3, help="of every autoencoder")
    parser.add_argument("--runs_dir", type=Path, default=Path("runs/autoencoders"))
    options = parser.parse_args()
    PARTS[options.part](Part(options.root, options.runs_dir, options.seeds, options.epochs))


if __name__ == "__main__":
    report()
