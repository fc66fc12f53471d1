"""Does the promise of `dml calibrate` hold? Calibrate on some classes, measure on others, over 200 draws of classes.

    python benchmarks/calibration.py --embeddings trained=unseen.npz pixels=pixels.npz

Embeddings are archives of `dml predict`, of classes that the encoder never saw. Every split deals the classes in two
halves: one chooses the distance, the other tells the rate. Gaussian classes are drawn anew on both sides. Prints the
table of benchmarks/results/calibration.md.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from dml.embeddings import EmbeddingSet
from dml.errors import UserError
from dml.evaluation import calibrate, measure

Halves = Callable[[int], tuple[EmbeddingSet, EmbeddingSet]]
Of = Literal["pairs", "searches"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeddings", nargs="*", default=[], metavar="NAME=FILE")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--each", type=int, default=10, help="images of each class")
    options = parser.parse_args()
    head = (
        "| classes | rate of | promised | held: no margin | held: `dml calibrate` | realised, mean | same-class pairs |"
    )
    print(f"{head} s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for classes, widths in ((10, 0.0), (30, 0.0), (30, 0.4), (100, 0.4)):
        named = f"Gaussian, {classes} + {classes}, " + ("widths differ" if widths else "equal widths")
        promised: dict[Of, float] = {"pairs": max(1e-3, 10 / classes**2), "searches": min(0.35, 10 / classes)}
        for of, rate in promised.items():
            row(named, lambda seed, c=classes, w=widths: gaussian(seed, c, w), of, rate, options.splits)
    for word in options.embeddings:
        name, _, file = word.partition("=")
        rows = EmbeddingSet.load(Path(file))
        kept = np.concatenate(
            [np.flatnonzero(rows.labels == label)[: options.each] for label in np.unique(rows.labels)]
        )
        rows = rows.take(kept)
        half = len(np.unique(rows.labels)) // 2
        for of, rate in (("pairs", 1e-3), ("pairs", 1e-2), ("searches", 0.1)):
            row(f"{name}, {half} + {half}", lambda seed, r=rows: halves(r, seed), of, rate, options.splits)  # type: ignore[arg-type]


def row(name: str, draw: Halves, of: Of, rate: float, splits: int) -> None:
    began = time.perf_counter()
    held: list[list[bool]] = []
    realised: list[float] = []
    matches: list[float] = []
    refused = 0
    for seed in range(splits):
        known, new = draw(seed)
        try:
            promised = calibrate(known, known, rate, of=of).threshold
        except UserError:
            refused += 1
            continue
        plain = calibrate(known, known, rate, confidence=0.5, of=of, new_classes=np.inf).threshold
        found = [measure(new, new, threshold) for threshold in (plain, promised)]
        rates = [float((each.pairs if of == "pairs" else each.searches).rate[0]) for each in found]
        held.append([each <= rate for each in rates])
        realised.append(rates[1])
        matches.append(found[1].true_match_rate)
    if held:
        shares = np.mean(held, axis=0)
        cells = f"{shares[0]:.3f} | {shares[1]:.3f} | {np.mean(realised):.2g} | {np.mean(matches):.3f}"
    else:
        cells = " | refused |  | "
    refused_told = f" ({refused} refused)" if refused and held else ""
    print(f"| {name} | {of} | {rate:.3g} | {cells}{refused_told} | {time.perf_counter() - began:.0f} |", flush=True)


def gaussian(seed: int, classes: int, widths: float) -> tuple[EmbeddingSet, EmbeddingSet]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(2 * classes), 8)
    width = 0.35 * np.exp(widths * rng.normal(size=2 * classes))
    rows = rng.normal(size=(2 * classes, 8))[labels] + width[labels, None] * rng.normal(size=(len(labels), 8))
    known = labels < classes
    return EmbeddingSet(rows[known], labels[known]), EmbeddingSet(rows[~known], labels[~known])


def halves(rows: EmbeddingSet, seed: int) -> tuple[EmbeddingSet, EmbeddingSet]:
    classes = np.random.default_rng(seed).permutation(np.unique(rows.labels))
    known = np.isin(rows.labels, classes[: len(classes) // 2])
    return rows.take(known), rows.take(~known)


if __name__ == "__main__":
    main()
