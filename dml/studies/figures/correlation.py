"""Correlation matrices as heat maps."""

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

_COLUMNS = 4


def correlation_maps(matrices: Mapping[str, NDArray[np.floating]], title: str = "") -> Figure:
    """Draw correlation matrices beside each other under one scale from −1 (blue) over 0 (white) to 1 (red).

    Dimensions without a correlation (NaN) are grey.

    Args:
        matrices: By name: (D,D).
        title: Above it all.

    Example:
        >>> figure = correlation_maps({"d = 2": np.eye(2), "d = 3": np.eye(3)})
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['d = 2', 'd = 3']
    """
    columns = min(_COLUMNS, len(matrices))
    rows = -(-len(matrices) // columns)
    figure = Figure(figsize=(2.2 * columns + 0.9, 2.3 * rows + (0.4 if title else 0)), layout="constrained")
    colours = colormaps["RdBu_r"].with_extremes(bad="0.6")
    panels = []
    for number, (name, matrix) in enumerate(matrices.items()):
        axes = figure.add_subplot(rows, columns, number + 1)
        image = axes.imshow(np.ma.masked_invalid(matrix), cmap=colours, vmin=-1, vmax=1, interpolation="nearest")
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("dimension of the code", fontsize=8)
        axes.set_ylabel("dimension of the code" if number % columns == 0 else "", fontsize=8)
        axes.tick_params(labelsize=7)
        panels.append(axes)
    figure.colorbar(image, ax=panels, label="Pearson correlation", shrink=0.8)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure
