"""Nearest neighbours and softmax on the raw pixels of CIFAR-10: C1 to C5 of the reference experiments.

    python benchmarks/pixels.py sheet neighbors softmax recipe --cifar ZIP

sheet       seven images of each class, as a picture
neighbors   C1 to C4: 5,000 and 500 images, three draws; the loops on the first alone
softmax     C5 from first principles (`dml.studies`), 48,000/1,000/1,000 images, over learning rates in two pixel units
recipe      C5 by `dml fit` with configs/cifar10/softmax.yaml, the same numbers of images

The copy holds CIFAR-10's training part alone, 50,000 images, so the reference's 49,000/1,000/1,000 are not to be had.
Scores go to benchmarks/results/scores, what the notebook draws to cross_validation.json and classical.json beside them.
"""

import argparse
import io
import math
import time
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from classical import RESULTS, ROOT, SEEDS, fit, front_door, gradient_error, keep, keep_curve, read_curve, spread
from PIL import Image

from dml import runs
from dml.functional.distances import squared_distances
from dml.neighbors import KNNClassifier
from dml.reports import png
from dml.studies import cross_validate, distances_by_loops, softmax_accuracy, softmax_descent
from dml.studies.figures import image_sheet

KS = (1, 2, 3, 5, 7, 10, 15, 20, 25, 30)
NORMS = ("l1", "l2", "linf")
RATES = {  # of pixels within 0..largest
    255: (1e-9, 1e-8, 3e-8, 1e-7, 3e-7, 1e-6, 1e-5, 1e-4),
    1: (1e-3, 1e-2, 3e-2, 1e-1, 1.0),
}
REFERENCE_RATE = 1e-7  # of pixels within 0..255
STEPS, BATCH, HELD_BACK = 1500, 200, 1000


def read_images(path: str, chosen: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return images (n,32,32,3) of a zip of class folders, their labels and the class names; None chooses all."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith((".jpg", ".png")))
        class_names = sorted({Path(name).parent.name for name in names})
        taken = names if chosen is None else [names[i] for i in chosen]
        images = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in taken])
    return images, np.array([class_names.index(Path(name).parent.name) for name in taken]), class_names


def draw(path: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return 5,000 and 500 images (n,3072) and their classes, drawn with the seed from the 50,000."""
    images, labels, _ = read_images(path, np.random.default_rng(seed).permutation(50_000)[:5500])
    rows = images.reshape(len(images), -1).astype(np.float32)
    return rows[:5000], labels[:5000], rows[5000:], labels[5000:]


def clock(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor's seconds (all threads) of a call, and what it returns."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def sheet(options: argparse.Namespace) -> None:
    figure = image_sheet(*read_images(options.cifar, np.random.default_rng(0).permutation(50_000)[:500]))
    (RESULTS / "pictures" / "C_sheet.png").write_bytes(png(figure))


def neighbors(options: argparse.Namespace) -> None:
    tables = {norm: [] for norm in NORMS}
    for seed in SEEDS:
        x, y, asked, truth = draw(options.cifar, seed)
        at_one = nearest(x, y, asked, truth, seed)
        seconds, found = clock(lambda x=x, y=y: cross_validate(x, y, KS, ("l2",)))
        at, means = KS.index(found.k), found.errors.mean(axis=2)
        error = float(found.errors[0, at].std(ddof=1) / math.sqrt(5))
        print(f"seed {seed}: C2 best k {found.k}, {means.min():.4f} ± {error:.4f}, {seconds:.1f} s")
        val = {"error": float(means.min()), "k": found.k, "fold_standard_error": error}
        keep("C2", seed, {"val": val, "time": {"processor_seconds": seconds}})
        seconds, norms = clock(lambda x=x, y=y: cross_validate(x, y, KS, NORMS))
        val = {"k": found.k}
        for norm, folds in zip(NORMS, norms.errors, strict=True):
            tables[norm].append(folds.tolist())
            means = folds.mean(axis=1)
            val |= {f"error_{norm}": float(means.min()), f"k_{norm}": KS[means.argmin()]}
            val |= {f"error_{norm}_at_one_k": float(means[at])}
        print(f"        C3 {val}, {seconds:.1f} s")
        keep("C3", seed, {"val": val})
        wrong = float(np.mean(KNNClassifier(norms.k, metric=norms.metric).fit(x, y).predict(asked) != truth))
        print(f"        C4 k={norms.k}, {norms.metric}: {wrong:.3f}, better than C1 by {at_one - wrong:.3f}")
        keep("C4", seed, {"test": {"error": wrong, "k": norms.k, "improvement": at_one - wrong}})
    runs.write_json(RESULTS / "cross_validation.json", {"ks": KS, "errors": tables})


def nearest(x: np.ndarray, y: np.ndarray, asked: np.ndarray, truth: np.ndarray, seed: int) -> float:
    """Keep C1's scores and times; return the test error."""
    stored, classifier = clock(lambda: KNNClassifier(k=1).fit(x, y))
    seconds, predicted = clock(lambda: classifier.predict(asked))
    error = float(np.mean(predicted != truth))
    scores: dict[str, Any] = {"test": {"error": error}}
    if seed == 0:
        looped, by_loops = clock(lambda: distances_by_loops(asked, x))
        multiplied, product = clock(lambda: squared_distances(torch.from_numpy(asked), torch.from_numpy(x)).sqrt())
        scores["test"] |= {
            "predictions_that_differ": int(np.sum(y[by_loops.argmin(axis=1)] != predicted)),
            "frobenius_norm": float(np.linalg.norm(by_loops)),
            "frobenius_norm_of_difference": float(np.linalg.norm(by_loops - product.numpy())),
            "stored_bytes": x.nbytes + y.nbytes,
        }
        scores["time"] = {"loop_processor_seconds": looped, "product_processor_seconds": multiplied}
        scores["time"] |= {"fit_processor_seconds": stored, "predict_processor_seconds": seconds}
    print(f"seed {seed}: C1 {scores}")
    keep("C1", seed, scores)
    return error


def parts(images: np.ndarray, labels: np.ndarray, seed: int, largest: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return rows and labels to train, validate and test on: pixels within 0..largest less the mean, bias first."""
    order = np.random.default_rng(seed).permutation(len(labels))
    test, val, train = np.split(order, [HELD_BACK, 2 * HELD_BACK])
    flat = images.reshape(len(images), -1)
    mean = flat[train].mean(axis=0)
    made = []
    for chosen in (train, val, test):
        rows = np.ones((len(chosen), flat.shape[1] + 1), np.float32)
        np.subtract(flat[chosen], mean, out=rows[:, 1:], casting="unsafe")
        rows[:, 1:] *= largest / 255
        made.append((rows, labels[chosen]))
    return made


def softmax(options: argparse.Namespace) -> None:
    images, labels, _ = read_images(options.cifar)
    found = {largest: np.empty((len(rates), len(SEEDS))) for largest, rates in RATES.items()}
    for seed in SEEDS:
        for largest, rates in RATES.items():
            (x, y), (x_val, y_val), (x_test, y_test) = parts(images, labels, seed, largest)
            start = np.zeros((10, x.shape[1]), np.float32)
            start[:, 1:] = 1e-4 * 255 / largest * np.random.default_rng(seed).normal(size=(10, x.shape[1] - 1))
            ends = []
            for i, rate in enumerate(rates):
                *_, (_, theta) = softmax_descent(start, x, y, rate, STEPS, batch_size=BATCH, seed=seed)
                ends.append(theta)
                found[largest][i, seed] = softmax_accuracy(theta, x_val, y_val)
            if largest == 1:
                continue
            losses, trained, validated = curves(start, (x, y), (x_val, y_val), seed)
            best = int(found[largest][:, seed].argmax())
            scores = {"train": {"first_loss": losses[0], "accuracy": trained[-1]}}
            scores["val"] = {"accuracy": validated[-1], "best_accuracy": float(found[largest][best, seed])}
            scores["test"] = {"accuracy": softmax_accuracy(ends[best], x_test, y_test), "best_rate": rates[best]}
            print(f"seed {seed}: {scores}", flush=True)
            keep("C5", seed, scores)
            if seed == 0:
                every = list(range(0, STEPS + 1, 50))
                keep_curve("c5_curve", {"loss": losses, "every": every, "train": trained, "val": validated})
    for largest, rates in RATES.items():
        for rate, row in zip(rates, found[largest], strict=True):
            print(f"pixels within 0..{largest}, rate {rate:g}, · range² {rate * largest**2:g}: {spread(row)}")
    keep_curve("c5", {str(n): {"rates": RATES[n], "val_accuracy": table.tolist()} for n, table in found.items()})


def curves(
    start: np.ndarray, train: tuple[np.ndarray, np.ndarray], val: tuple[np.ndarray, np.ndarray], seed: int
) -> tuple[list[float], list[float], list[float]]:
    """Return the loss of every batch at the reference's rate, and both accuracies before every 50th and at the end."""
    losses, trained, validated = [], [softmax_accuracy(start, *train)], [softmax_accuracy(start, *val)]
    descent = softmax_descent(start, *train, REFERENCE_RATE, STEPS, batch_size=BATCH, seed=seed)
    for step, (loss, theta) in enumerate(descent, start=1):
        losses.append(round(loss, 4))
        if step % 50 == 0:
            trained.append(softmax_accuracy(theta, *train))
            validated.append(softmax_accuracy(theta, *val))
    return losses, trained, validated


def recipe(options: argparse.Namespace) -> None:
    error = gradient_error(torch.nn.CrossEntropyLoss(), 10, (3, 32, 32))
    print(f"gradient against numerical: largest relative error {error:.1e}")
    for seed in SEEDS:
        folder = options.runs_dir / f"c5-{seed}"
        scores = fit(folder, "cifar10/softmax.yaml", seed, f"--data.root={options.cifar}")
        if "test" not in scores:  # the test images are read once
            front_door(["test", "--run", str(folder)])
            scores = runs.read_json(folder / runs.SCORES)
        first, test = read_curve(folder, "train/loss")[0], {"accuracy": scores["test"]["accuracy"]}
        print(f"seed {seed}: first loss {first:.3f}, val {scores['val']['accuracy']:.3f}, test {test['accuracy']:.3f}")
        val = {"accuracy": scores["val"]["accuracy"]}
        test["gradient_relative_error"] = error
        keep("C5_recipe", seed, {"train": {"first_loss": first}, "val": val, "test": test})


PARTS = {"sheet": sheet, "neighbors": neighbors, "softmax": softmax, "recipe": recipe}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--cifar", required=True, help="a zip of class folders: CIFAR-10's training images")
    parser.add_argument("--runs_dir", type=Path, default=ROOT / "runs" / "pixels")
    options = parser.parse_args()
    print(f"{date.today()}, torch {torch.__version__}, numpy {np.__version__}, {torch.get_num_threads()} thread(s)")
    for part in options.parts:
        print(f"\n{part}")
        seconds, _ = clock(lambda part=part: PARTS[part](options))
        print(f"({seconds:.1f} s of processor)", flush=True)


if __name__ == "__main__":
    main()
