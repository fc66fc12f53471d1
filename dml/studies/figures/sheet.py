"""A sheet of images, some of each class."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dml.errors import UserError
from dml.reports.lettering import fitted, lettering


def image_sheet(
    images: NDArray[np.uint8], labels: NDArray[np.int64], class_names: Sequence[str], per_class: int = 7
) -> Figure:
    """Draw the first images of each class below each other, one column per class.

    Args:
        images: (N,H,W,3), or (N,H,W) in grey, 0..255.
        labels: (N,).
        class_names: Names by label.
        per_class: Images of each class, ≥ 1.

    Raises:
        UserError: A class has fewer.

    Example:
        >>> figure = image_sheet(np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 0, 1]), ["a", "b"], per_class=2)
        >>> [axes.get_title() for axes in figure.axes]
        ['a', 'b']
    """
    columns = []
    for label, name in enumerate(class_names):
        chosen = images[labels == label][:per_class]
        if len(chosen) < per_class:
            raise UserError(f"class {name} has {len(chosen)} images: give per_class={len(chosen)} or more images")
        columns.append(np.concatenate(chosen))  # (per_class·H, W[, 3])
    with lettering():
        figure = Figure(figsize=(0.85 * len(columns), 0.85 * per_class + 0.4), layout="constrained")
        for i, (name, column) in enumerate(zip(class_names, columns, strict=True)):
            axes = figure.add_subplot(1, len(columns), i + 1)
            axes.imshow(column, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_title(fitted(name, 56, 8), fontsize=8, parse_math=False)
            axes.set_axis_off()
    return figure
