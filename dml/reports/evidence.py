"""Draws what is behind a score: its interval, which class is taken for which, how evenly references are found."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dml.reports.lettering import drawable, fitted, lettering, without_formulas
from dml.reports.style import COLOURS, MARKERS

_MOST_CLASSES = 30  # a confusion matrix of more shows the most confused
_NUMBERED = 16  # classes up to which cells hold their numbers

Interval = tuple[float, float]


def score_intervals(
    scores: Mapping[str, Mapping[str, float]], intervals: Mapping[str, Mapping[str, Interval]], level: str = "95 %"
) -> Figure:
    """Draw scores between 0 and 1, one row per score, each with its interval if it has one.

    Args:
        scores: By encoder (trained, untrained, pixels) or run: score by name.
        intervals: The same, (low, high); encoders or scores may be missing.
        level: The intervals' level, for the axis.

    Example:
        >>> figure = score_intervals({"trained": {"map_at_r": 0.5}}, {"trained": {"map_at_r": (0.4, 0.6)}})
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['map_at_r']
    """
    names = list(dict.fromkeys(name for row in scores.values() for name in row))
    many = len(scores) > 3  # they stand in a column beside the axes, and need more height
    height = max(1.1 + max(0.32, 0.11 * len(scores)) * len(names), 0.2 * len(scores) + 0.3 if many else 0)
    figure = Figure(figsize=(8.5 if many else 6.5, height), layout="constrained")
    axes = figure.add_subplot()
    step = 0.6 / max(1, len(scores))
    for i, (encoder, row) in enumerate(scores.items()):
        own = intervals.get(encoder, {})
        held = [(at, row[name], own.get(name, (row[name], row[name]))) for at, name in enumerate(names) if name in row]
        places = [at + (i - (len(scores) - 1) / 2) * step for at, _, _ in held]
        values = [value for _, value, _ in held]
        bars = np.array([[value - low, high - value] for _, value, (low, high) in held]).T.clip(0)
        axes.errorbar(
            values,
            places,
            xerr=bars,
            linestyle="none",
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=5,
            capsize=3,
            label=fitted(encoder, 180, 8) if many else drawable(encoder),
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set(
        xlim=(-0.02, 1.02),
        xlabel=f"score (1 is best); bars: {level} intervals" if any(intervals.values()) else "score (1 is best)",
    )
    axes.grid(axis="x", alpha=0.3)
    if len(scores) > 1:
        columns = 1 if many else len(scores)
        legend = figure.legend(
            loc="outside right center" if many else "outside upper right", ncols=columns, frameon=False, fontsize=8
        )
        without_formulas(legend.get_texts())
    return figure


def confusion_picture(shares: NDArray[np.floating], class_names: Sequence[str], what: str = "queries") -> Figure:
    """Draw a confusion matrix: rows are true classes, each divided by its sum; of many classes, the most confused.

    Args:
        shares: (C,C) how many of row i were taken for column j.
        class_names: Names (C,).
        what: What is counted.

    Example:
        >>> confusion_picture(np.array([[3.0, 1.0], [0.0, 4.0]]), ["ash", "birch"]).axes[0].get_xlabel()
        'class the nearest references vote for'
    """
    counts = np.asarray(shares, float)
    shown, title = _most_confused(counts), ""
    if len(shown) < len(counts):
        title = f"the {len(shown)} classes of {len(counts)} with most mistakes"
    totals = counts.sum(axis=1, keepdims=True)
    rates = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)[np.ix_(shown, shown)]
    side = 1.9 + max(3.0, (0.36 if len(shown) <= _NUMBERED else 0.24) * len(shown))
    size = 8 if len(shown) <= _NUMBERED else 7
    with lettering():
        figure = Figure(figsize=(side + 0.9, side), layout="constrained")
        axes = figure.add_subplot()
        image = axes.imshow(rates, cmap="Blues", norm=PowerNorm(0.5, 0, 1))  # rare mistakes are seen too
        if len(shown) <= _NUMBERED:
            for (row, column), rate in np.ndenumerate(rates):
                if rate > 0:
                    colour = "kw"[int(rate > 0.4)]
                    axes.text(column, row, f"{100 * rate:.0f}", ha="center", va="center", fontsize=7, color=colour)
        names = [fitted(str(class_names[i]), 110, size) for i in shown]  # ends often differ
        axes.set_xticks(range(len(shown)), names, rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(range(len(shown)), names, fontsize=size, parse_math=False)
        axes.set(xlabel="class the nearest references vote for", ylabel=f"class of the {what}", title=title)
        figure.colorbar(image, label=f"share of the class's {what}", shrink=0.7)
    return figure


def hubness_histogram(counts: NDArray[np.integer], k: int) -> Figure:
    """Draw how often references are among the k nearest of a query: a long tail to the right means hubs.

    Args:
        counts: (R,) occurrences of each reference, those never found included.
        k: Depth.

    Example:
        >>> hubness_histogram(np.array([0, 1, 1, 2]), k=1).axes[0].get_ylabel()
        'references per bin'
    """
    counts = np.asarray(counts)
    figure = Figure(figsize=(6.5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    width = max(1, -(-int(counts.max(initial=1)) // 60))  # whole numbers a bin, at most 60 bins
    bins = np.arange(0, int(counts.max(initial=0)) + width + 1, width) - 0.5
    axes.hist(counts, bins.tolist(), color=COLOURS[0], edgecolor="white", linewidth=0.4)
    axes.axvline(float(counts.mean()), color=COLOURS[3], linestyle="--", label=f"mean {counts.mean():.3g}")
    axes.set(
        xlabel=f"queries that have the reference among their {k} nearest",
        ylabel="references per bin",
        yscale="log",
        title=f"never found {100 * np.mean(counts == 0):.1f} %, skewness {skewness(counts):.2f}",
    )
    axes.legend(frameon=False)
    return figure


def skewness(counts: NDArray[np.integer]) -> float:
    """Return the third standardised moment of occurrences: 0 if they are even, above 1 if hubs attract everything.

    Example:
        >>> skewness(np.array([1, 1, 1])), skewness(np.array([0, 1, 2]))
        (0.0, 0.0)
    """
    centred = np.asarray(counts, float) - np.mean(counts)
    deviation = centred.std()
    return float((centred**3).mean() / deviation**3) if deviation > 0 else 0.0


def _most_confused(counts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the positions of classes to draw: all, or those with most mistakes in row and column, in their order."""
    if len(counts) <= _MOST_CLASSES:
        return np.arange(len(counts))
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    return np.sort(np.argsort(-wrong, kind="stable")[:_MOST_CLASSES])
