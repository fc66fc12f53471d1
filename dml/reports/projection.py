"""The embedding in two dimensions, one point per image."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from dml.reports.lettering import drawable, fitted, lettering, width_of, without_formulas
from dml.reports.style import class_style

_LEGEND_CLASSES = 24  # more would hide the points
_SIDE = 400  # points, about: the drawn area
_SIZE, _LINE = 8, 11  # points: letters, and the height of a line of them

Points = NDArray[np.floating]


def embedding_map(points: Points, labels: NDArray[np.int64], class_names: Sequence[str], title: str) -> Figure:
    """Draw points coloured and marked by class; up to 24 classes are named at their centres and in a legend.

    Args:
        points: (N,2).
        labels: (N,).
        class_names: Names by label.
        title: What was projected, and how.

    Example:
        >>> import numpy as np
        >>> embedding_map(np.zeros((3, 2)), np.array([0, 1, 1]), ["a", "b"], "t-SNE").axes[0].get_title()
        't-SNE'
    """
    present = np.unique(labels)
    size = float(np.clip(8000 / max(1, len(points)), 14, 42))  # of few points the marks can be told apart
    with lettering():
        figure = Figure(figsize=(8, 6), layout="constrained")
        axes = figure.add_subplot()
        for label in present:
            colour, marker = class_style(int(label))
            chosen, name = points[labels == label], fitted(class_names[label], 130, _SIZE)
            axes.scatter(chosen[:, 0], chosen[:, 1], s=size, c=colour, marker=marker, linewidths=0, label=name)
        axes.set(xlabel="first dimension", ylabel="second dimension")
        axes.set_title(drawable(title), parse_math=False)
        axes.set_aspect("equal", adjustable="datalim")
        if len(present) <= _LEGEND_CLASSES:
            _name_classes(axes, points, labels, [class_names[label] for label in present])
            legend = figure.legend(loc="outside right upper", fontsize=_SIZE, frameon=False, markerscale=1.2)
            without_formulas(legend.get_texts())
    return figure


def _name_classes(axes: Axes, points: Points, labels: NDArray[np.int64], names: Sequence[str]) -> None:
    """Write each class's name at the median of its points, apart from the others' names."""
    texts = [fitted(name, 110, _SIZE) for name in names]
    middles = np.array([np.median(points[labels == label], axis=0) for label in np.unique(labels)], float)
    scale = max(float(np.ptp(points, axis=0).max()), 1e-9) / _SIDE  # data units a point
    sizes = scale * np.array([[width_of(text, _SIZE) + 4, _LINE] for text in texts])
    places = _apart(middles, sizes)
    for text, middle, place in zip(texts, middles, places, strict=True):
        far = np.abs(place - middle).max() > scale * _LINE
        axes.annotate(
            text,
            xy=(float(middle[0]), float(middle[1])),
            xytext=(float(place[0]), float(place[1])),
            ha="center",
            va="center",
            fontsize=_SIZE,
            parse_math=False,
            path_effects=[withStroke(linewidth=2, foreground="white")],
            arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": "0.35"} if far else None,
            zorder=5,
        )


def _apart(middles: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return positions of boxes near their centres that do not overlap: pairs that do are moved up and down.

    Args:
        middles: (C,2).
        sizes: (C,2), widths and heights.
    """
    places = middles + np.arange(len(middles))[:, None] * [0.0, 1e-6] * sizes  # equal middles have an order, too
    for _ in range(200):
        moved = False
        for one, other in combinations(range(len(places)), 2):
            gap = np.abs(places[one] - places[other])
            room = (sizes[one] + sizes[other]) / 2
            if (gap < room * 0.999).all():
                upper, lower = (one, other) if places[one, 1] > places[other, 1] else (other, one)
                places[upper, 1] += (room[1] - gap[1]) / 2
                places[lower, 1] -= (room[1] - gap[1]) / 2
                moved = True
        if not moved:
            break
    return places
