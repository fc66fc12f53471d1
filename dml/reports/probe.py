"""Draws what an encoder is worth with few and many labels: accuracy against labels, one line per way of using it."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dml.reports.style import COLOURS, MARKERS

_LINES = ("-", "--", ":")


def probe_curves(scores: Mapping[str, Mapping[int | float, Sequence[float]]], title: str) -> Figure:
    """Draw the mean accuracy over seeds, with one standard deviation to either side as error bars.

    Args:
        scores: By row, then by labels (a share of each class as float, images per class as int): accuracies in 0..1,
            one per seed.
        title: What was probed.

    Example:
        >>> figure = probe_curves({"linear": {0.1: [0.5, 0.7], 1.0: [0.8, 0.8]}}, "a run")
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
        ['10 %', '100 %']
    """
    amounts = list(dict.fromkeys(amount for row in scores.values() for amount in row))
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, row) in enumerate(scores.items()):
        shift = 0.04 * (number - (len(scores) - 1) / 2)  # bars of one label count do not hide each other
        places = [amounts.index(amount) + shift for amount in row]
        means = [float(np.mean(values)) for values in row.values()]
        deviations = [float(np.std(values, ddof=1)) if len(values) > 1 else 0.0 for values in row.values()]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]
        line = _LINES[number // len(COLOURS) % len(_LINES)]
        axes.errorbar(places, means, deviations, label=name, c=colour, marker=marker, ls=line, ms=5, lw=1.4, capsize=3)
    axes.set_xticks(range(len(amounts)), [label_of(amount) for amount in amounts])
    axes.set(title=title, xlabel="labelled training images", ylabel="validation accuracy (share of images)")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside right center", fontsize=8, frameon=False)
    return figure


def label_of(amount: int | float) -> str:
    """Return a number of labels as it is written on an axis.

    Example:
        >>> label_of(5), label_of(0.01), label_of(1.0)
        ('5 per class', '1 %', '100 %')
    """
    return f"{amount} per class" if isinstance(amount, int) else f"{100 * amount:g} %"
