"""Errors on folds: against k, one line per metric, and as bars; both show the uncertainty that the folds leave."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dml.reports.style import COLOURS, MARKERS


def error_against_k(ks: Sequence[int], errors: Mapping[str, ArrayLike]) -> Figure:
    """Draw the mean error of the folds against k with its standard error, and the folds as dots.

    The standard error is sd/√folds (n − 1); folds share training rows, so it is somewhat too small.

    Args:
        ks: Numbers of voters.
        errors: By metric, (len(ks),folds), within 0..1, folds ≥ 2.

    Example:
        >>> error_against_k([1, 3], {"l2": [[0.2, 0.3], [0.1, 0.2]]}).axes[0].get_xlabel()
        'k, neighbours that vote'
    """
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for i, (metric, folds) in enumerate(errors.items()):
        means, spread = _mean_and_error(folds)
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        axes.errorbar(ks, means, spread, color=colour, marker=marker, capsize=3, label=metric)
        axes.plot(ks, np.asarray(folds), linestyle="none", marker=".", markersize=3, color=colour, alpha=0.4)
    axes.set(xlabel="k, neighbours that vote", ylabel="share of errors on the held-out fold")
    axes.set_title("Mean of the folds ± standard error; dots: single folds", fontsize=10)
    axes.legend(frameon=False)
    return figure


def error_bars(errors: Mapping[str, ArrayLike], ylabel: str) -> Figure:
    """Draw one bar per choice: the mean of its errors, with the standard error and the number above.

    Args:
        errors: By choice, (n,), within 0..1, n ≥ 2.
        ylabel: What was counted, on what.

    Example:
        >>> [t.get_text() for t in error_bars({"l1": [0.1, 0.3], "l2": [0.2, 0.4]}, "error").axes[0].texts]
        ['0.200', '0.300']
    """
    figure = Figure(figsize=(1.2 + 1.3 * len(errors), 4), layout="constrained")
    axes = figure.add_subplot()
    for i, (name, values) in enumerate(errors.items()):
        mean, spread = _mean_and_error(values)
        axes.bar(name, mean, yerr=spread, width=0.6, capsize=4, color=COLOURS[5], edgecolor="black")
        axes.text(i, float(mean + spread) + 0.01, f"{mean:.3f}", ha="center", va="bottom")
    axes.set(ylabel=f"{ylabel} ± standard error", ylim=(0, min(1.0, 1.1 * axes.get_ylim()[1])))
    return figure


def _mean_and_error(values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard error over the last axis."""
    table = np.asarray(values, dtype=np.float64)
    return table.mean(axis=-1), table.std(axis=-1, ddof=1) / np.sqrt(table.shape[-1])
