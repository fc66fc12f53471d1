"""How often the 95 % intervals of scores hold the truth, by simulation; `comparisons.py` does the same for two runs.

python benchmarks/intervals.py [--share .1]      all tables, as Markdown; a share of the data sets is quicker

Every cell: how often the truth is held, (mean width), before → after; each data set has fresh classes. Before is the
bootstrap of whole classes that `dml` used until November 2026.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm, t

from dml.evaluation import QueryScores, class_intervals, query_scores

Floats = NDArray[np.float64]
Interval = tuple[float, float]
CLASSES = (3, 5, 10, 30, 100)
QUERIES = 20  # of a class; of unbalanced ones on average, the sizes log-normal with sigma .8 (from 2 to about 150)
SEPARATION = {"R@1 .97": (1.8, 2.2, 2.6, 3.3, 3.8), "R@1 .75": (0.9, 1.0, 1.4, 1.6, 2.0)}  # by number of classes


class Data(NamedTuple):
    """One score of the queries of one data set."""

    values: Floats
    labels: NDArray[np.int64]

    def table(self) -> QueryScores:
        """Return them as the evaluator gives them."""
        return QueryScores({"score": self.values}, self.labels, np.arange(len(self.labels)), 0)


def draw_labels(rng: np.random.Generator, classes: int, balanced: bool) -> NDArray[np.int64]:
    sizes = QUERIES * np.exp(rng.normal(-0.32, 0.8, classes)) if not balanced else np.full(classes, QUERIES)
    return np.repeat(np.arange(classes), np.maximum(2, np.round(sizes)).astype(int))


def draw_scores(rng: np.random.Generator, labels: NDArray[np.int64], mean: float, icc: float, binary: bool) -> Data:
    """Return scores whose classes' means are beta distributed with this intraclass correlation."""
    strength = 1 / icc - 1 if icc else 1e9
    means = rng.beta(mean * strength, (1 - mean) * strength, labels.max() + 1).clip(1e-9, 1 - 1e-9)[labels]
    return Data(1.0 * (rng.random(len(means)) < means) if binary else rng.beta(5 * means, 5 * (1 - means)), labels)


def draw_gallery(rng: np.random.Generator, classes: int, balanced: bool, separation: float, scatter: float) -> Data:
    """Return embeddings (N,8) of Gaussian classes, the logarithms of whose widths vary by `scatter`, as `values`."""
    labels = draw_labels(rng, classes, balanced)
    centres, widths = rng.normal(0, separation, (classes, 8)), np.exp(rng.normal(0, scatter, classes))
    return Data(centres[labels] + widths[labels][:, None] * rng.normal(size=(len(labels), 8)), labels)


def retrieve(gallery: Data) -> dict[str, Data]:
    found = query_scores(gallery.values.astype(np.float32), gallery.labels, ks=(1,), knn_ks=(1,))
    return {name: Data(found.scores[name], found.labels) for name in ("recall_at_1", "map_at_r")}


def after(data: Data) -> Interval:
    return class_intervals(data.table())["score"]


def before(data: Data, resamples: int = 500) -> Interval:
    """Return what `dml` gave until November 2026."""
    low, high = percentiles(np.bincount(data.labels, data.values), np.bincount(data.labels), resamples)
    return max(0.0, low), min(1.0, high)


def percentiles(sums: Floats, sizes: NDArray[np.int64], resamples: int) -> Interval:
    """Return expanded percentiles (Hesterberg, 2015) of a bootstrap of whole classes."""
    count, mean = len(sizes), sums.sum() / sizes.sum()
    weights = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), resamples)
    low, high = np.quantile(weights @ sums / (weights @ sizes), [0.025, 0.975])
    stretch = t.ppf(0.975, count - 1) / norm.ppf(0.975) * np.sqrt(count / (count - 1))
    return float(mean + stretch * (low - mean)), float(mean + stretch * (high - mean))


def worst_class(data: Data, draws: int = 500) -> Interval:
    """Return Gaffke's bounds: Dirichlet weights on the class means and one class of score 0 (or 1)."""
    means = np.bincount(data.labels, data.values) / np.bincount(data.labels)
    weights = np.random.default_rng(0).dirichlet(np.ones(len(means) + 1), draws)
    low, high = (np.quantile(weights @ np.sort([*means, end]), q) for end, q in ((0.0, 0.025), (1.0, 0.975)))
    return float(low), float(high)


def korn_graubard(data: Data) -> Interval:
    """Return Clopper and Pearson's interval with the effective number of queries, as survey statistics have it."""
    sums, sizes = np.bincount(data.labels, data.values), np.bincount(data.labels)
    count, total, mean = len(sizes), len(data.values), data.values.mean()
    variance = count / (count - 1) * ((sums - mean * sizes) ** 2).sum() / total**2
    shrink = (norm.ppf(0.975) / t.ppf(0.975, count - 1)) ** 2
    effective = min(total, mean * (1 - mean) / variance if variance else total) * shrink
    low = beta.ppf(0.025, effective * mean, effective * (1 - mean) + 1) if mean > 0 else 0.0
    return float(low), float(beta.ppf(0.975, effective * mean + 1, effective * (1 - mean)) if mean < 1 else 1.0)


def bootstrap_t(data: Data, resamples: int = 500) -> Interval:
    """Return the bootstrap-t of the classes' means on the logit scale, one query of score ½ added."""
    means = np.bincount(data.labels, data.values) / np.bincount(data.labels)
    drawn = np.random.default_rng(0).integers(0, len(means), (resamples, len(means)))

    def logit(values: Floats) -> tuple[Floats, Floats]:
        mean = (values.sum(-1) + 0.5 / QUERIES) / (values.shape[-1] + 1 / QUERIES)
        spread = ((values - mean[..., None]) ** 2).sum(-1) + (0.5 - mean) ** 2 / QUERIES
        return np.log(mean / (1 - mean)), np.sqrt(spread) / values.shape[-1] / (mean * (1 - mean))

    (centre, error), (centres, errors) = logit(means), logit(means[drawn])
    low, high = np.quantile((centres - centre) / np.maximum(errors, 1e-12), [0.025, 0.975])
    return float(1 / (1 + np.exp(high * error - centre))), float(1 / (1 + np.exp(low * error - centre)))


def cell(data: list[Data], truth: float, methods: tuple[Callable[[Data], Interval], ...]) -> str:
    """Return how often each method holds the truth, and the mean width of its intervals."""
    texts = []
    for method in methods:
        ends = np.array([method(one) for one in data])
        held = ((ends[:, 0] <= truth + 1e-12) & (truth <= ends[:, 1] + 1e-12)).mean()
        texts.append(f"{held:.3f} ({np.diff(ends).mean():.3f})")
    return " → ".join(texts)


def row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def heads(*names: str) -> None:
    row(*names)
    row(*("---" for _ in names))


def drawn_classes(share: float) -> None:
    """Print intervals of scores whose classes were drawn independently."""
    heads("score", "truth", "ICC", "sizes", *(f"{count} classes" for count in CLASSES))
    for binary in (True, False):
        for mean in (0.5, 0.8, 0.97, 0.99):
            for icc in (0.0, 0.05, 0.2):
                for balanced in (True, False):
                    cells = []
                    for count in CLASSES:
                        rng = np.random.default_rng((count, balanced, binary))
                        data = [
                            draw_scores(rng, draw_labels(rng, count, balanced), mean, icc, binary)
                            for _ in range(round(1 + share * (999 if count <= 10 else 399)))
                        ]
                        cells.append(cell(data, mean, (before, after)))
                    row("0/1" if binary else "continuous", f"{mean}", f"{icc}", sizes_word(balanced), *cells)


def galleries(share: float) -> None:
    """Print intervals of dml's own retrieval in fresh galleries; the truth is the mean over all that were drawn."""
    heads("score", "gallery", "sizes", *(f"{count} classes" for count in CLASSES))
    for level, separations in SEPARATION.items():
        for scatter in (0.4, 0.0):
            for balanced in (True, False):
                cells: dict[str, list[str]] = {"recall_at_1": [], "map_at_r": []}
                for count, separation in zip(CLASSES, separations, strict=True):
                    rng = np.random.default_rng((count, balanced, 1))
                    number = round(1 + share * {30: 499, 100: 149}.get(count, 999))
                    found = [retrieve(draw_gallery(rng, count, balanced, separation, scatter)) for _ in range(number)]
                    for name, texts in cells.items():
                        data = [one[name] for one in found]
                        truth = float(np.mean([one.values.mean() for one in data]))
                        texts.append(f"{truth:.2f}: {cell(data, truth, (before, after))}")
                for name, texts in cells.items():
                    row(name, f"{level}, widths {'differ' if scatter else 'equal'}", sizes_word(balanced), *texts)


def alternatives(share: float) -> None:
    """Print what else was tried, at a truth of .97 where it is hard."""
    methods = (before, worst_class, korn_graubard, bootstrap_t, after)
    heads("score", "ICC", "classes", *(method.__name__ for method in methods))
    for binary in (True, False):
        for icc in (0.0, 0.2):
            for count in (5, 10, 30):
                rng = np.random.default_rng((count, 2))
                number = range(round(1 + share * 499))
                data = [draw_scores(rng, draw_labels(rng, count, True), 0.97, icc, binary) for _ in number]
                cells = [cell(data, 0.97, (method,)) for method in methods]
                row("0/1" if binary else "continuous", f"{icc}", f"{count}", *cells)


def cost() -> None:
    heads("queries, classes", "before, 13 scores", "after, 13 scores")
    for queries, classes in ((359, 10), (5924, 100), (60502, 11318)):
        data = Data(np.random.default_rng(0).random(queries), np.arange(queries) % classes)
        seconds = []
        for method in (lambda one: before(one, 2000), after):
            start = time.perf_counter()
            for _ in range(13 if classes < 1000 else 1):
                method(data)
            seconds.append((time.perf_counter() - start) * (1 if classes < 1000 else 13))
        row(f"{queries}, {classes}", *(f"{1000 * each:.0f} ms" for each in seconds))


def sizes_word(balanced: bool) -> str:
    return "equal" if balanced else "unequal"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0)
    share = parser.parse_args().share
    for part in (drawn_classes, galleries, alternatives):
        start = time.perf_counter()
        print(f"\n## {part.__name__.replace('_', ' ').capitalize()}\n")
        part(share)
        print(f"{part.__name__}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    print("\n## Cost\n")
    cost()


if __name__ == "__main__":
    main()
