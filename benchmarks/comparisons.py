"""How often `compare` cries wolf, by simulation, and whether its p-values and intervals agree.

python benchmarks/comparisons.py [--share .1]      the table, as Markdown; a share of the data sets is quicker

Two embeddings of the same images, drawn alike (so that no difference is true), or the second with more noise.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from intervals import CLASSES, SEPARATION, Data, draw_gallery, heads, percentiles, retrieve, row, sizes_word

from dml.evaluation import paired_difference


def pairs(share: float) -> None:
    """Print how often `compare` finds p < .05: two embeddings of the same images, equally good but in the last rows."""
    heads("two runs", "score", "sizes", *(f"{count} classes" for count in CLASSES[1:4]))
    for kind in ("noise of samples", "classes moved", "classes moved far", "one is worse"):
        for balanced in (True, False):
            cells: dict[str, list[str]] = {"recall_at_1": [], "map_at_r": []}
            for count, separation in list(zip(CLASSES, SEPARATION["R@1 .97"], strict=True))[1:4]:
                rng = np.random.default_rng((count, balanced, 3))
                drawn = list(draw_pairs(rng, kind, count, balanced, separation, round(1 + share * 499)))
                for name, texts in cells.items():
                    texts.append(alarms([(one[name], two[name]) for one, two in drawn], kind == "one is worse"))
            for name, texts in cells.items():
                row(kind, name, sizes_word(balanced), *texts)


def draw_pairs(
    rng: np.random.Generator, kind: str, count: int, balanced: bool, separation: float, number: int
) -> Iterator[tuple[dict[str, Data], dict[str, Data]]]:
    for _ in range(number):
        shared = draw_gallery(rng, count, balanced, separation, 0.4)
        runs = []
        for noise in (0.3, 1.2) if kind == "one is worse" else (0.7, 0.7):
            far = {"classes moved": noise, "classes moved far": separation}.get(kind, 0.0)
            moved = rng.normal(0, 1, (count, 8))[shared.labels] * far
            noisy = shared.values + moved + rng.normal(0, noise, shared.values.shape)
            runs.append(retrieve(Data(noisy, shared.labels)))
        yield runs[0], runs[1]


def alarms(found: list[tuple[Data, Data]], differ: bool) -> str:
    """Return shares of p < .05 (before: of p against the interval, too), and how often the truth is held."""
    old = [before_pair(Data(two.values - one.values, one.labels)) for one, two in found]
    disagreed = np.mean([(p < 0.05) != (not low <= 0 <= high) for p, low, high in old])
    results = [paired_difference(one.table(), two.table(), "score") for one, two in found]
    assert all((one.p_value < 0.05) == (not one.low <= 0 <= one.high) for one in results)
    ours = np.mean([one.p_value < 0.05 for one in results])
    text = f"{np.mean([p < 0.05 for p, _, _ in old]):.3f} ({disagreed:.3f}) → {ours:.3f}"
    if not differ:
        return text
    truth = float(np.mean([two.values.mean() - one.values.mean() for one, two in found]))
    held = [
        np.mean([low <= truth <= high for low, high in ends])
        for ends in ([x[1:] for x in old], [x[1:3] for x in results])
    ]
    return f"{text}; {truth:+.3f} held {held[0]:.3f} → {held[1]:.3f}"


def before_pair(change: Data, resamples: int = 500) -> tuple[float, float, float]:
    """Return the p-value of random sign flips and the expanded percentiles, as `compare` had them."""
    sums, sizes = np.bincount(change.labels, change.values), np.bincount(change.labels)
    count, rng = len(sizes), np.random.default_rng(0)
    flips = rng.choice([-1.0, 1.0], (resamples, count)) @ sums
    p_value = (np.count_nonzero(np.abs(flips) >= abs(sums.sum()) * (1 - 1e-12)) + 1) / (resamples + 1)
    return float(p_value), *percentiles(sums, sizes, resamples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0)
    pairs(parser.parse_args().share)


if __name__ == "__main__":
    main()
