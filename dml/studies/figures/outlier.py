"""Straight boundaries of linear classifiers beside each other, every panel wide enough for all of its points."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dml.reports.style import COLOURS, MARKERS

_LINES = ("-", "--", ":", "-.")


class LinearStudy(NamedTuple):
    """Points (N,2), labels (N,), the outlier's position, and by name (bias, w_1, w_2) of the lines bias + w·x = 0."""

    points: NDArray[np.floating]
    labels: NDArray[np.int64]
    outlier: int
    lines: Mapping[str, NDArray[np.floating]]


def linear_boundaries(studies: Mapping[str, LinearStudy], class_names: Sequence[str], columns: int = 3) -> Figure:
    """Draw one panel per study: its points and lines, and a ring around the outlier.

    The panels' scales differ: each shows all of its points, which a common scale could not do legibly.

    Args:
        studies: By title.
        class_names: Names by label.
        columns: Panels in a row.

    Example:
        >>> points = np.array([[-1.0, 0.0], [1.0, 0.0], [9.0, 0.0]])
        >>> study = LinearStudy(points, np.array([0, 1, 1]), 2, {"x = 0": np.array([0.0, 1.0, 0.0])})
        >>> linear_boundaries({"far": study}, ["left", "right"]).axes[0].get_title()
        'far'
    """
    columns = min(columns, len(studies))
    rows = -(-len(studies) // columns)
    figure = Figure(figsize=(3.2 * columns + 0.4, 2.5 * rows + 0.7), layout="constrained")
    for i, (title, study) in enumerate(studies.items()):
        axes = figure.add_subplot(rows, columns, i + 1)
        _draw(axes, study, class_names)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("first coordinate" if i + columns >= len(studies) else "", fontsize=8)
        axes.set_ylabel("second coordinate" if i % columns == 0 else "", fontsize=8)
        axes.tick_params(labelsize=7)
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    return figure


def _draw(axes: Axes, study: LinearStudy, class_names: Sequence[str]) -> None:
    points = study.points
    for label, name in enumerate(class_names):
        chosen = points[study.labels == label]
        axes.scatter(
            chosen[:, 0], chosen[:, 1], s=14, c=COLOURS[label], marker=MARKERS[label], linewidths=0, label=name
        )
    x, y = points[study.outlier]
    axes.scatter(x, y, s=110, facecolors="none", edgecolors="black", linewidths=1.2, label="outlier")
    low, high = points.min(axis=0), points.max(axis=0)
    room = 0.08 * (high - low) + 0.1
    (left, bottom), (right, top) = low - room, high + room
    for i, (name, (bias, w_1, w_2)) in enumerate(study.lines.items()):
        colour, line = COLOURS[(len(class_names) + i) % len(COLOURS)], _LINES[i % len(_LINES)]
        # the line's point nearest to the panel's middle, and its direction: right for lines of every slope
        middle, normal = np.array([left + right, bottom + top]) / 2, np.array([w_1, w_2])
        foot = middle - (bias + normal @ middle) / (normal @ normal) * normal
        axes.axline(foot, foot + np.array([-w_2, w_1]), color=colour, linestyle=line, linewidth=1.6, label=name)
    axes.set(xlim=(left, right), ylim=(bottom, top))
