"""The classical studies of the reference experiments: linear classifiers, points in the plane, angles.

    python benchmarks/classical.py c6 c7 d1 d2 d3 d4 d5 d5_sum e6        each part prints its figures

C6 and D5 are trained by `dml fit` with the recipes in configs/; C1 to C5 are in benchmarks/pixels.py. Scores of three
seeds go to benchmarks/results/scores, what the notebooks draw to benchmarks/results/classical.json.
"""

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import circmean, circvar, multivariate_normal
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dml import runs
from dml.data.sources.points import draw_points
from dml.encoders import FlattenEncoder
from dml.heads import LinearHead
from dml.modules import ClassifierModule
from dml.neighbors import KNNClassifier
from dml.studies import (
    KNNBayes,
    KNNDensity,
    add_bias,
    expected_noisy_loss,
    least_squares,
    numerical_gradient,
    relative_error,
    softmax_accuracy,
    softmax_descent,
    softmax_loss,
    squared_loss,
)
from dml.studies.angles import angular_loss, circular_mean, circular_variance, wrapped_difference
from dml.studies.figures import plane_grid

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SEEDS = (0, 1, 2)
CHEAP = ("--pictures.projection=none", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false")


def front_door(words: list[str]) -> None:
    """Run `dml` in a process of its own."""
    subprocess.run([sys.executable, "-m", "dml", *words], check=True)


def keep(row: str, seed: int, scores: dict[str, Any]) -> None:
    """Write a row's scores where README's table reads them."""
    runs.write_json(RESULTS / "scores" / row / f"seed{seed}.json", scores)


def keep_curve(name: str, values: Any) -> None:
    """Write what a notebook draws."""
    path = RESULTS / "classical.json"
    runs.write_json(path, (runs.read_json(path) if path.exists() else {}) | {name: values})


def spread(values: Any) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"


def fit(folder: Path, config: str, seed: int, *keys: str) -> dict[str, Any]:
    """Train a recipe unless the run is there; return its scores."""
    if not (folder / runs.SCORES).exists():
        words = ["fit", "--config", str(ROOT / "configs" / config), "--name", folder.name]
        words += ["--runs_dir", str(folder.parent), "--seed_everything", str(seed), *CHEAP, *keys]
        front_door(words)
    scores: dict[str, Any] = runs.read_json(folder / runs.SCORES)
    return scores


def read_curve(folder: Path, key: str) -> list[float]:
    """Return a logged key of a run, step by step."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return [event.value for event in events.Scalars(key)]


def gradient_error(loss: torch.nn.Module, num_classes: int, shape: tuple[int, ...], step: float = 1e-5) -> float:
    """Return the largest relative error |a − n| / (|a| + |n|) of a linear classifier's gradient, 50 of its weights."""
    torch.manual_seed(0)
    images, labels = torch.rand(200, *shape, dtype=torch.float64) - 0.5, torch.arange(200) % num_classes
    module = ClassifierModule(FlattenEncoder(), LinearHead(num_classes), loss).double()
    module(images)  # fixes the sizes
    loss(module(images), labels).backward()
    weight = module.head.layer.weight

    def loss_of(weights: np.ndarray) -> float:
        with torch.no_grad():
            weight.copy_(torch.from_numpy(weights))
            return float(loss(module(images), labels))

    analytic, places = weight.grad.numpy().ravel(), torch.randperm(weight.numel())[:50].tolist()
    return relative_error(analytic[places], numerical_gradient(loss_of, weight.detach().numpy().copy(), step, places))


def c6(options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    loss = torch.nn.MultiMarginLoss()
    logits, labels = torch.randn(500, 2, dtype=torch.float64), torch.arange(500) % 2
    signs = 2 * labels - 1
    formula = (1 - signs * (logits[:, 1] - logits[:, 0])).clamp(min=0).mean() / 2
    gap = abs(loss(logits, labels) - formula).item()
    error = gradient_error(loss, 2, (1, 8, 8), step=1e-3)  # linear in pieces: only rounding errs
    print(f"half the hinge loss: differs by {gap:.0e}; gradient against numerical: relative error {error:.1e}")
    at_kink = torch.tensor([[0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    loss(at_kink, torch.tensor([1])).backward()
    sides = [loss(torch.tensor([[0.0, 1 + h]]), torch.tensor([1])).item() for h in (1e-3, -1e-3)]
    numerical = (sides[0] - sides[1]) / 2e-3
    print(f"at the kink: analytic {at_kink.grad[0, 1]:.2f}, numerical {numerical:.2f} (the mean of both sides)")
    accuracies = []
    for seed in SEEDS:
        scores = fit(options.runs_dir / f"c6-{seed}", "points/linear_svm.yaml", seed)
        accuracies.append(scores["val"]["accuracy"])
        test = {"gradient_relative_error": error, "formula_difference": gap}
        keep("C6", seed, {"val": {"accuracy": accuracies[-1]}, "test": test})
    print(f"linear SVM on two moons: validation accuracy {spread(accuracies)}")


def c7(options: argparse.Namespace) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x, theta, sigma, draws = rng.normal(size=(100, 5)), rng.normal(size=5), 0.3, 20_000
        y = x @ theta + 0.1 * rng.normal(size=100)
        tried = theta + 0.5 * rng.normal(size=5)
        clean, closed = squared_loss(x, y, tried), expected_noisy_loss(x, y, tried, sigma)
        noisy = np.array([squared_loss(x + sigma * rng.normal(size=x.shape), y, tried) for _ in range(draws)])
        error = noisy.std(ddof=1) / math.sqrt(draws)
        many = np.tile(x, (2000, 1))
        many += sigma * rng.normal(size=many.shape)
        ridge = least_squares(x, y, ridge=100 * sigma**2)
        apart = float(np.abs(least_squares(many, np.tile(y, 2000)) - ridge).max())
        print(
            f"seed {seed}: L {clean:.4f}; L + σ²|θ|² {closed:.4f}; noisy {noisy.mean():.4f} ± {1.96 * error:.4f} (95 %)"
        )
        print(f"        its minimiser against ridge with α = N·σ²: largest difference {apart:.4f}")
        scores = {"simulated": float(noisy.mean()), "standard_error": float(error), "closed_form": float(closed)}
        keep("C7", seed, {"test": scores | {"deviation_in_standard_errors": float((noisy.mean() - closed) / error)}})


def d1(options: argparse.Namespace) -> None:
    for seed in SEEDS:
        differ, grid = 0, plane_grid((-1, -1), (1, 1))
        for kind, classes in (("blobs", 3), ("rings", 3), ("moons", 2), ("spirals", 4)):
            x, y = draw_points(kind, 200, classes, 0.15, seed)
            theirs = KNeighborsClassifier(5).fit(x, y).predict(grid.points)
            differ += int(np.sum(KNNClassifier(5).fit(x, y).predict(grid.points) != theirs))
        print(f"seed {seed}: {differ} of 40000 predictions differ from scikit-learn's")
        keep("D1", seed, {"test": {"predictions_that_differ": differ, "equal_share": 1 - differ / 40_000}})


def uneven_moons(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return 512 points of two moons, 300 and 212 of a class, to search in, and 2000 to ask for, of the same shares."""
    x, y = draw_points("moons", 300, 2, 0.15, seed)
    asked, truth = draw_points("moons", 1172, 2, 0.15, 1000 + seed)
    return x[:512], y[:512], asked[:2000], truth[:2000]


def d2(options: argparse.Namespace) -> None:
    ks = [2**i for i in range(10)]
    errors = np.empty((len(SEEDS), len(ks)))
    for i, seed in enumerate(SEEDS):
        x, y, asked, truth = uneven_moons(seed)
        for j, k in enumerate(ks):
            predicted = KNNClassifier(k).fit(x, y).predict(asked)
            errors[i, j] = np.mean(predicted != truth)
        assert (predicted == 0).all()  # k = N: the majority everywhere
        keep("D2", seed, {"test": {f"error_k{k}": e for k, e in zip(ks, errors[i].tolist(), strict=True)}})
    for k, column in zip(ks, errors.T, strict=True):
        print(f"k = {k:3}: error on 2000 new points {spread(column)}")
    print(
        f"k = N decides for class 0 everywhere; its errors are class 1's share of the new points, {np.mean(truth):.3f}"
    )


def uneven_blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return 200, 200 and 50 points about three centres and their classes."""
    x, y = draw_points("blobs", 200, 3, 0.15, seed)
    return x[:450], y[:450]


def true_density(x: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return ln p (n,) of what `uneven_blobs` draws from, but for the few points cut off at the square."""
    turns = 2 * math.pi * np.arange(3) / 3
    bells = [multivariate_normal(0.6 * np.array([math.cos(t), math.sin(t)]), 0.15**2).pdf(x) for t in turns]
    return np.log(shares @ np.array(bells))


def d3(options: argparse.Namespace) -> None:
    cell, grid = (3 / 150) ** 2, plane_grid((-1.49, -1.49), (1.49, 1.49), 150)
    for seed in SEEDS:
        (x, y), (asked, classes) = uneven_blobs(seed), uneven_blobs(500 + seed)
        shares = np.bincount(y) / len(y)
        truth = true_density(asked, shares)
        print(f"seed {seed}: p(c) = {shares.round(3).tolist()}; mean ln p of new points {truth.mean():.3f}, the truth")
        scores = {}
        for k in (2, 4, 8, 16, 32):
            density = KNNDensity(k).fit(x)
            found = density.log_density(asked)
            mass = float(np.exp(density.log_density(grid.points)).sum() * cell)
            right = float(np.mean(KNNBayes(k).fit(x, y).predict(asked) == classes))
            error = float(np.abs(found - truth).mean())
            scores |= {f"log_density_error_k{k}": error, f"mass_k{k}": mass, f"bayes_accuracy_k{k}": right}
            print(
                f"  k = {k:2}: ln p {found.mean():6.3f}, off by {error:.3f}; mass on ±1.5 {mass:.3f}; Bayes {right:.3f}"
            )
        keep("D3", seed, {"test": scores})


def with_outlier(seed: int, magnitude: float) -> tuple[np.ndarray, np.ndarray]:
    """Return two blobs of 25 points, at x = ±0.6, and one more of the left class at (−magnitude, 0): right by far."""
    x, y = draw_points("blobs", 25, 2, 0.25, seed)
    return np.vstack([x, [[-magnitude, 0.0]]]), np.append(y, 1)


def d4(options: argparse.Namespace) -> None:
    magnitudes = [2**i for i in range(5)]
    deciders: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
        "least_squares": lambda x, y, asked: add_bias(asked) @ least_squares(add_bias(x), 2 * y - 1) > 0,
        "logistic": lambda x, y, asked: LogisticRegression(C=10.0).fit(x, y).predict(asked),
        "hinge": lambda x, y, asked: (
            LinearSVC(loss="hinge", C=1.0, max_iter=100_000, random_state=0).fit(x, y).predict(asked)
        ),
    }
    found = {name: np.empty((len(magnitudes), 20)) for name in deciders}
    for seed in range(20):
        asked, truth = draw_points("blobs", 1000, 2, 0.25, 100 + seed)
        for i, magnitude in enumerate(magnitudes):
            x, y = with_outlier(seed, magnitude)
            for name, decide in deciders.items():
                found[name][i, seed] = np.mean(decide(x, y, asked) == truth)
    for name, table in found.items():
        print(f"{name}: accuracy on 2000 clean points, outlier at 2^i:", ", ".join(spread(row) for row in table))
    for seed in range(20):
        scores = {f"{n}_at_{m}": float(t[i, seed]) for n, t in found.items() for i, m in enumerate(magnitudes)}
        keep("D4", seed, {"test": scores})
    keep_curve("d4", {"magnitudes": magnitudes} | {name: table.tolist() for name, table in found.items()})


def d5(options: argparse.Namespace) -> None:
    huge = torch.tensor([[1e4, 0.0, -1e4]])
    stable, naive = huge.softmax(dim=1), huge.exp() / huge.exp().sum()
    print(f"softmax of logits 1e4, 0, -1e4: stabilised {stable.tolist()[0]}, without subtraction {naive.tolist()[0]}")
    tested = []
    for seed in SEEDS:
        folder = options.runs_dir / f"d5-{seed}"
        scores = fit(folder, "digits/softmax.yaml", seed)
        last = {name: read_curve(folder, f"train/{name}")[-1] for name in ("loss", "accuracy")}
        tested.append(scores["val"]["accuracy"])
        keep(
            "D5",
            seed,
            {"train": last, "test": {name: scores["val"][name] for name in ("accuracy", "loss", "knn_accuracy")}},
        )
    print(f"digits: accuracy on the quarter held back {spread(tested)}")


def d5_sum(options: argparse.Namespace) -> None:
    x, y = load_digits(return_X_y=True)
    for seed in SEEDS:
        parts = train_test_split(add_bias(x), y, test_size=0.25, random_state=seed, stratify=y)
        x_train, x_test, y_train, y_test = parts
        for row, reduction in (("D5_sum", "sum"), ("D5_mean", "mean")):
            *_, (_, theta) = softmax_descent(np.zeros((10, 65)), x_train, y_train, 0.001, 1000, reduction)
            scores = {
                name: {"accuracy": softmax_accuracy(theta, *part), "loss": softmax_loss(theta, *part)[0]}
                for name, part in (("train", (x_train, y_train)), ("test", (x_test, y_test)))
            }
            print(f"seed {seed}, {reduction}: {scores}")
            keep(row, seed, scores)


def e6(options: argparse.Namespace) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        worst = 0.0
        for spread_of_angles in (0.1, 0.5, 1.0, 2.0):
            values = torch.from_numpy(rng.normal(rng.uniform(0, 7), spread_of_angles, size=200))
            mean = wrapped_difference(
                circular_mean(values), torch.tensor(circmean(values.numpy()), dtype=torch.float64)
            )
            worst = max(worst, abs(mean.item()), abs(circular_variance(values).item() - circvar(values.numpy())))
        errors = {name: turn_error(name, rng) for name in ("plain", "angular")}
        print(f"seed {seed}: against scipy at most {worst:.0e} apart; error of the turn learnt {errors}")
        scores = {"largest_difference": worst} | {f"{name}_loss_error": error for name, error in errors.items()}
        keep("E6", seed, {"test": scores})


def turn_error(name: str, rng: np.random.Generator) -> float:
    """Return by how much (radians) a turn of 5.5 is missed that was learnt from 200 noisy pairs of angles."""
    start = torch.from_numpy(rng.uniform(0, 2 * math.pi, 200))
    target = torch.remainder(start + 5.5 + 0.1 * torch.from_numpy(rng.normal(size=200)), 2 * math.pi)
    turn = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([turn], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = angular_loss(start + turn, target) if name == "angular" else (start + turn - target).square().mean()
        loss.backward()
        optimizer.step()
    return wrapped_difference(turn.detach(), torch.tensor(5.5)).abs().item()


PARTS = {"c6": c6, "c7": c7, "d1": d1, "d2": d2, "d3": d3, "d4": d4, "d5": d5, "d5_sum": d5_sum, "e6": e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--runs_dir", type=Path, default=Path("runs/classical"))
    options = parser.parse_args()
    print(f"{date.today()}, torch {torch.__version__}, numpy {np.__version__}, {torch.get_num_threads()} thread(s)")
    for part in options.parts:
        wall, processor = time.perf_counter(), time.process_time()
        print(f"\n{part.upper()}")
        PARTS[part](options)
        print(
            f"({time.perf_counter() - wall:.1f} s wall, {time.process_time() - processor:.1f} s processor)", flush=True
        )


if __name__ == "__main__":
    main()
