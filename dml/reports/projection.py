"""The embedding in two dimensions, one point per image."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dml.reports.style import class_style, plain

_LEGEND_CLASSES = 24  # more would hide the points


def embedding_map(
    points: NDArray[np.floating], labels: NDArray[np.int64], class_names: Sequence[str], title: str
) -> Figure:
    """Draw points coloured and marked by class.

    Args:
        points: (N,2).
        labels: (N,).
        class_names: Names by label; a legend shows them where there are at most 24.
        title: What was projected, and how.

    Example:
        >>> import numpy as np
        >>> embedding_map(np.zeros((3, 2)), np.array([0, 1, 1]), ["a", "b"], "t-SNE").axes[0].get_title()
        't-SNE'
    """
    figure = Figure(figsize=(7.5, 6), layout="constrained")
    axes = figure.add_subplot()
    present = np.unique(labels)
    for label in present:
        colour, marker = class_style(int(label))
        chosen = points[labels == label]
        axes.scatter(
            chosen[:, 0], chosen[:, 1], s=14, c=colour, marker=marker, linewidths=0, label=plain(class_names[label])
        )
    axes.set(title=title, xlabel="first dimension (no unit)", ylabel="second dimension (no unit)")
    axes.set_aspect("equal", adjustable="datalim")
    if len(present) <= _LEGEND_CLASSES:
        legend = figure.legend(loc="outside right upper", fontsize=8, frameon=False, markerscale=1.6)
        for text in legend.get_texts():
            text.set_parse_math(False)  # a class may be named $5_$10
    return figure
