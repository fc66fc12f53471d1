"""Curves: losses and scores over training, and scores against swept keys with their spread over seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dml.reports.lettering import fitted, lettering, width_of, without_formulas
from dml.reports.style import COLOURS, MARKERS

Series = tuple[Sequence[float], Sequence[float]]  # where, what
_LINES = ("-", "--", "-.", ":")
_INSIDE = 5  # curves up to which the legend has room among them


def training_curves(
    curves: Mapping[str, Series], ylabel: str, xlabel: str = "optimiser steps", log: bool = False
) -> Figure:
    """Draw curves over training, each with its colour, line style and marker.

    Args:
        curves: By name: steps (N,) and values (N,); values that are not finite are left out.
        ylabel: What the values are, with their unit.
        xlabel: What the steps are.
        log: Whether the values' axis is logarithmic; values that are not positive are then left out.

    Example:
        >>> figure = training_curves({"train": ([0, 1], [2.0, 1.0]), "val": ([1], [1.5])}, "loss")
        >>> [line.get_label() for line in figure.axes[0].lines]
        ['train', 'val']
    """
    with lettering():
        figure = Figure(figsize=(6.5, 4 + 0.1 * max(0, len(curves) - _INSIDE)), layout="constrained")
        axes = figure.add_subplot()
        for i, (name, (steps, values)) in enumerate(curves.items()):
            x, y = np.asarray(steps, float), np.asarray(values, float)
            keep = np.isfinite(y) & ((y > 0) | (not log))
            x, y = x[keep], y[keep]
            few = len(x) <= 30  # a marker at every point would hide a longer curve
            every = 1 if few else max(1, len(x) // 12)
            colour, line, marker = COLOURS[i % len(COLOURS)], _LINES[i % len(_LINES)], MARKERS[i % len(MARKERS)]
            name = fitted(name, 190, 8)
            axes.plot(x, y, color=colour, ls=line, lw=1.6, marker=marker, markevery=every, markersize=4, label=name)
        axes.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
        _finish(figure, axes, len(curves))
    return figure


def swept_curves(
    values: Sequence[object],
    scores: Mapping[str, Sequence[Sequence[float]]],
    key: str,
    lines: tuple[str, Sequence[object]] | None = None,
    ylabel: str | None = None,
) -> Figure:
    """Draw scores against a swept key: means over seeds, with one standard deviation to either side as error bars.

    Args:
        values: The key's value of each configuration; numbers lie on an axis (logarithmic if they are spaced so),
            others side by side.
        scores: By name: for each configuration its score under each seed, at least one.
        key: The key's name, the label of the axis.
        lines: A second key and its value of each configuration: a line for each of them.
        ylabel: What the scores are; None takes their names, or what these share.

    Example:
        >>> figure = swept_curves([0.1, 0.2], {"val/knn_accuracy": [[0.5, 0.7], [0.6, 0.8]]}, "margin")
        >>> figure.axes[0].get_ylabel().splitlines()
        ['val/knn_accuracy', '(mean ± sd over 2 seeds)']
    """
    with lettering():
        figure = Figure(figsize=(6.5, 4), layout="constrained")
        axes = figure.add_subplot()
        places, ticks = _places(values)
        name, others = lines or ("", [None] * len(values))
        groups = list(dict.fromkeys(others))
        drawn = [(score, group) for score in scores for group in groups]
        for i, (score, group) in enumerate(drawn):
            rows = sorted((at for at in range(len(values)) if others[at] == group), key=lambda at: places[at])
            samples = [np.asarray(scores[score][at], float) for at in rows]
            label = (
                score if lines is None else f"{name} = {group}" if len(scores) == 1 else f"{score}, {name} = {group}"
            )
            axes.errorbar(
                places[rows],
                [sample.mean() for sample in samples],
                [sample.std(ddof=1) if len(sample) > 1 else 0.0 for sample in samples],
                color=COLOURS[i % len(COLOURS)],
                linestyle="none" if ticks else _LINES[i % len(_LINES)],  # between names there is nothing
                marker=MARKERS[i % len(MARKERS)],
                markersize=5,
                linewidth=1.5,
                capsize=3,
                label=fitted(label, 190, 8),
            )
        _label_x(axes, key, values, ticks)
        axes.set_ylabel(
            f"{ylabel or _common(list(scores))}{_seeds([len(row) for rows in scores.values() for row in rows])}"
        )
        _finish(figure, axes, len(drawn))
    return figure


def swept_heatmap(
    values: Sequence[object],
    others: Sequence[object],
    scores: Sequence[Sequence[float]],
    keys: tuple[str, str],
    score: str,
) -> Figure:
    """Draw the mean score over seeds against two swept keys as a heat map with the numbers in its cells.

    Args:
        values: The first key's value of each configuration.
        others: The second key's.
        scores: For each configuration its score under each seed.
        keys: Names of both keys.
        score: The score's name.

    Example:
        >>> swept_heatmap([1, 2], [5, 5], [[0.1], [0.2]], ("k", "seed"), "val/map_at_r").axes[0].get_ylabel()
        'seed'
    """
    columns, rows = (_ordered(dict.fromkeys(column)) for column in (values, others))
    table = np.full((len(rows), len(columns)), np.nan)
    for value, other, samples in zip(values, others, scores, strict=True):
        table[rows.index(other), columns.index(value)] = np.mean(samples)
    figure = Figure(figsize=(max(1.8 + 0.62 * len(columns), 4), max(1.4 + 0.42 * len(rows), 3.6)), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(table, cmap="cividis", origin="lower", aspect="auto")
    middle = (np.nanmin(table) + np.nanmax(table)) / 2
    for (row, column), mean in np.ndenumerate(table):
        if np.isfinite(mean):
            axes.text(column, row, f"{mean:.3g}", ha="center", va="center", fontsize=7, color="wk"[int(mean > middle)])
    _name_x(axes, [str(value) for value in columns], 40 * max(1.0, 4 / len(columns)))
    axes.set_yticks(range(len(rows)), [fitted(str(value), 90, 10) for value in rows], parse_math=False)
    axes.set(xlabel=fitted(keys[0], 190, 10), ylabel=fitted(keys[1], 200, 10))
    figure.colorbar(image, label=f"{fitted(score, 110, 10)} (mean over seeds)")
    return figure


def swept_points(columns: Mapping[str, Sequence[object]], scores: Sequence[Sequence[float]], score: str) -> Figure:
    """Draw a panel for each swept key: one point per configuration, its mean with one standard deviation over seeds.

    Args:
        columns: By key: its value of each configuration.
        scores: For each configuration its score under each seed.
        score: The score's name.

    Example:
        >>> len(swept_points({"lr": [0.1, 0.2], "margin": [1, 2]}, [[0.5], [0.6]], "val/map_at_r").axes)
        2
    """
    across = min(3, len(columns))
    down = -(-len(columns) // across)
    figure = Figure(figsize=(4 * across + 0.6, 3.4 * down), layout="constrained")
    means = [np.mean(samples) for samples in scores]
    deviations = [float(np.std(samples, ddof=1)) if len(samples) > 1 else 0.0 for samples in scores]
    for i, (key, values) in enumerate(columns.items()):
        axes = figure.add_subplot(down, across, i + 1)
        places, ticks = _places(values)
        axes.errorbar(
            places, means, deviations, color=COLOURS[0], linestyle="none", marker="o", markersize=4, capsize=2
        )
        _label_x(axes, key, values, ticks)
        axes.set_ylabel(fitted(score, 190, 10) if i % across == 0 else "")
        axes.grid(alpha=0.3)
    return figure


def _common(names: Sequence[str]) -> str:
    """Return what names of scores share: `knn_accuracy` of `val/knn_accuracy` and `train/knn_accuracy`."""
    kinds = {name.rpartition("/")[2] for name in names}
    return names[0] if len(names) == 1 else kinds.pop() if len(kinds) == 1 else "score"


def _seeds(counts: Sequence[int]) -> str:
    most = max(counts)
    upto = "" if min(counts) == most else "up to "
    return f"\n(mean ± sd over {upto}{most} seeds)" if most > 1 else ""


def _places(values: Sequence[object]) -> tuple[NDArray[np.float64], list[str]]:
    """Return the position of each value on the axis and, if values are not numbers, the names of the positions."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(values):
        return np.asarray(numbers, float), []
    names = list(dict.fromkeys(map(str, values)))
    return np.asarray([names.index(str(value)) for value in values], float), names


def _label_x(axes: Axes, key: str, values: Sequence[object], ticks: Sequence[str]) -> None:
    axes.set_xlabel(fitted(key, 220, 10))
    if ticks:
        _name_x(axes, ticks, 220 / len(ticks))
        axes.set_xlim(-0.6, len(ticks) - 0.4)
        return
    places = np.unique(_places(values)[0])
    if len(places) > 2 and places[0] > 0 and places[-1] / places[0] >= 50:  # a linear axis would crowd the small ones
        axes.set_xscale("log")


def _name_x(axes: Axes, names: Sequence[str], room: float) -> None:
    """Name positions along the axis, vertically if a name is wider than its room in points."""
    shown = [fitted(name, 110, 9) for name in names]
    upright = max(width_of(name, 9) for name in shown) > room
    axes.set_xticks(range(len(shown)), shown, rotation=90 if upright else 0, fontsize=9, parse_math=False)


def _ordered(values: Mapping[object, None]) -> list[object]:
    numbers = all(isinstance(value, int | float) for value in values)
    return sorted(values, key=lambda value: float(str(value))) if numbers else list(values)


def _finish(figure: Figure, axes: Axes, curves: int) -> None:
    axes.grid(alpha=0.3)
    if curves > _INSIDE:  # a legend of more would hide them
        legend = figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=2)
    elif curves > 1:
        legend = axes.legend(frameon=False, fontsize=8)
    else:
        return
    without_formulas(legend.get_texts())
