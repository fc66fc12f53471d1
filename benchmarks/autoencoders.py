"""Part E of the reference experiments, E1 to E4, on MNIST: trained by `dml fit`, numbers from each run's scores.json.

    python benchmarks/autoencoders.py e1 --root datasets/mnist       then e2, e3, e4; E5 is benchmarks/few_labels.py

Runs that are there are not run again; e3 and e4 look at the runs of e1. The scores go to benchmarks/results/scores, all
that the notebook draws to benchmarks/results/autoencoders.json, pictures of images to notebooks/pictures.
"""

import argparse
import dataclasses
import io
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from sklearn.decomposition import PCA
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from dml import reports, runs
from dml.cli import main
from dml.cli.trainer import TrainerCLI
from dml.data import ImageData, OfficialSplit, TorchvisionSet
from dml.encoders import pretrained_encoder
from dml.modules import AutoencoderModule
from dml.studies.codes import correlation_matrix, correlation_summary, interpolate_linear, interpolate_spherical
from dml.studies.figures import correlation_maps

HERE = Path(__file__).parent
CONFIGS = HERE.parent / "configs" / "mnist"
SCORES = HERE / "results" / "scores"
NUMBERS = HERE / "results" / "autoencoders.json"
PICTURES = HERE.parent / "notebooks" / "pictures"
DIMS = [*range(5, 15), *range(50, 56), *range(100, 105)]  # E1's
RECONSTRUCTED = [5, 10, 14, 50, 100]  # of E1's, those with a picture
SHOWN_DIMS = [10, 50, 100]  # of E1's, those in the results table
WAYS = [
    (9, 6, 10),
    (5, 4, 10),
    (9, 2, 10),
    (2, 3, 5),
    (2, 3, 10),
    (2, 3, 15),
    (2, 3, 40),
    (2, 3, 90),
    (8, 0, 100),
    (7, 9, 3),
]
HALFWAY = [3, 5, 10, 15, 40, 90, 100]  # E3's code sizes
MATRICES = [5, 10, 50, 100]  # of E4's, those with a picture
SHAPES = [[], [256], [256, 256], [256, 256, 256], [64], [128], [512]]  # E2's hidden layers: depth at 256, width at one
PAIRS = 200  # test images, two a pair, whose half-way images are measured in E3
FEW_PICTURES = ("--pictures.projection=none", "--pictures.gallery_queries=1", "--pictures.gallery_neighbors=1")
NORMALISED = {"mean": 0.1307, "std": 0.3081}  # as in the recipes


@dataclasses.dataclass(frozen=True)
class Part:
    """What every part is told.

    Args:
        root: MNIST's folder, as torchvision has it.
        runs_dir: Where the runs go.
        seeds: One run each.
    """

    root: str
    runs_dir: Path
    seeds: list[int]

    def autoencoder(self, name: str, recipe: str, *keys: str) -> Path:
        """Train a recipe and test it, unless the run is there; return its folder."""
        run = self.runs_dir / name
        if not (run / runs.SCORES).exists():
            shutil.rmtree(run, ignore_errors=True)  # what was interrupted
            start, processor = time.perf_counter(), time.process_time()
            where = [f"--data.source.root={self.root}", f"--runs_dir={self.runs_dir}", f"--name={name}"]
            _dml("fit", "--config", str(CONFIGS / f"{recipe}.yaml"), *where, *FEW_PICTURES, *keys)
            seconds = {"wall": time.perf_counter() - start, "processor": time.process_time() - processor}
            runs.write_json(run / runs.SCORES, runs.read_json(run / runs.SCORES) | {"seconds": seconds})
        if "test" not in runs.read_json(run / runs.SCORES):
            _dml("test", "--run", name, "--runs_dir", str(self.runs_dir))
        return run

    def small(self, d: int, seed: int) -> Path:
        """Train E1's autoencoder with a code of d dimensions; return its folder."""
        keys = (f"--model.encoder.embedding_dim={d}", f"--seed_everything={seed}")
        return self.autoencoder(f"E1_d{d}_seed{seed}", "autoencoder_small", *keys)

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
    """Keep a picture in 64 colours: the notebook holds a copy of each, and is to stay small."""
    small = io.BytesIO()
    Image.open(io.BytesIO(reports.png(figure))).convert("RGB").quantize(64).save(small, "PNG", optimize=True)
    runs.write_bytes(PICTURES / f"{name}.png", small.getvalue())


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
    """Error against latent dimension, beside PCA; errors by epoch; reconstructions."""
    data = part.data()
    pca = pca_errors(data, [*DIMS, 30])  # 30: for the recipe beyond E1
    errors: dict[str, list[float]] = {}
    curves: dict[str, dict[str, list[list[float]]]] = {}
    for seed in part.seeds:
        for d in DIMS:
            run = part.small(d, seed)
            scores = runs.read_json(run / runs.SCORES)
            errors.setdefault(str(d), []).append(scores["test"]["mse"])
            for name, values in errors_by_epoch(run).items():
                curves.setdefault(name, {}).setdefault(str(d), []).append(values)
            if d in SHOWN_DIMS:
                publish(f"E1_d{d}", seed, scores | {"baselines": {"pca": {"test": {"mse": pca[d]}}}})
    note("e1", {"mse": errors, "pca": {str(d): error for d, error in pca.items()}, "by_epoch": curves})
    originals = pixels_of(data, data.parts.test[:12])
    rows = {f"d = {d}": give_back(autoencoder_of(part.small(d, part.seeds[0])), originals) for d in RECONSTRUCTED}
    draw("autoencoder_reconstructions", reports.reconstruction_strip(originals.numpy(), rows))


def errors_by_epoch(run: Path) -> dict[str, list[float]]:
    """Return mean squared errors of training and held-back images after each epoch."""
    events = EventAccumulator(str(run)).Reload()
    return {name: [event.value for event in events.Scalars(f"{name}/mse")] for name in ("train", "val")}


@torch.no_grad()
def give_back(module: AutoencoderModule, pixels: Tensor) -> NDArray[np.float32]:
    reconstructions: NDArray[np.float32] = module((pixels - module.mean) / module.std).numpy()
    return reconstructions


def e2(part: Part) -> None:
    """Error against the number of hidden layers and against their width, d = 10."""
    errors: dict[str, list[float]] = {}
    for sizes in SHAPES:
        shape = "x".join(map(str, sizes)) or "linear"
        for seed in part.seeds:
            keys = (f"--model.encoder.hidden_sizes={sizes}", f"--model.decoder.hidden_sizes={sizes}")
            run = part.autoencoder(f"E2_{shape}_seed{seed}", "autoencoder_small", *keys, f"--seed_everything={seed}")
            errors.setdefault(shape, []).append(runs.read_json(run / runs.SCORES)["test"]["mse"])
    publish_seeds("E2", part.seeds, {f"mse_{shape}": values for shape, values in errors.items()})
    note("e2", {"mse": errors})


INTERPOLATIONS = {"linear": interpolate_linear, "spherical": interpolate_spherical}


def e3(part: Part) -> None:
    """Paths between the codes of two digits; how far from any digit the half-way images of many pairs lie."""
    data = part.data()
    labels = data.catalog.labels[data.parts.test]
    train = pixels_of(data, data.parts.train).flatten(1)
    firsts = {digit: data.parts.test[int(np.flatnonzero(labels == digit)[0])] for digit in range(10)}
    autoencoders = {d: autoencoder_of(part.small(d, part.seeds[0])) for d in HALFWAY}
    for kind in INTERPOLATIONS:
        paths = {
            f"{start} to {end}, d = {d}": decoded_path(
                autoencoders[d], pixels_of(data, np.array([firsts[start], firsts[end]])), kind, 11
            ).numpy()
            for start, end, d in WAYS
        }
        draw(f"interpolation_{kind}", reports.interpolation_strip(paths, f"{kind} interpolation of the code"))
    pairs = pixels_of(data, data.parts.test[:PAIRS])
    note("e3", {str(d): halfway_distances(module, pairs, train) for d, module in autoencoders.items()})
    for seed in part.seeds:
        publish("E3", seed, {"nearest": halfway_distances(autoencoder_of(part.small(10, seed)), pairs, train)})


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
    summaries: dict[str, list[dict[str, float]]] = {}
    matrices = {}
    for d in DIMS:
        for seed in part.seeds:
            with torch.no_grad():
                codes = pretrained_encoder(str(part.small(d, seed))).eval()(images)
            matrix = correlation_matrix(codes)
            summaries.setdefault(str(d), []).append(correlation_summary(matrix)._asdict())
            if d in MATRICES and seed == part.seeds[0]:
                matrices[f"d = {d}"] = matrix.numpy()
    for number, seed in enumerate(part.seeds):
        publish("E4", seed, {f"d{d}": summaries[str(d)][number] for d in (10, 100)})
    note("e4", summaries)
    draw("correlation", correlation_maps(matrices, "Pearson correlation of the code's dimensions, test images"))


PARTS: dict[str, Callable[[Part], None]] = {"e1": e1, "e2": e2, "e3": e3, "e4": e4}


def report() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--root", required=True, help="MNIST's folder, as torchvision has it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--runs_dir", type=Path, default=Path("runs/autoencoders"))
    options = parser.parse_args()
    PARTS[options.part](Part(options.root, options.runs_dir, options.seeds))


if __name__ == "__main__":
    report()
