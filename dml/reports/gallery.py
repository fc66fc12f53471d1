"""The retrieval gallery: queries beside their nearest references, wrong ones framed."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dml.reports.lettering import fitted, lettering
from dml.reports.style import RIGHT, WRONG

_CELL = 1.1  # inches
_ROOM, _SIZE = 70, 7  # points: the width of a cell's text, and its letters


def retrieval_gallery(
    query_images: NDArray[np.uint8],
    query_labels: NDArray[np.int64],
    neighbor_images: NDArray[np.uint8],
    neighbor_labels: NDArray[np.int64],
    distances: NDArray[np.floating],
    class_names: Sequence[str],
    query_names: Sequence[str] | None = None,
    neighbor_names: Sequence[Sequence[str]] | None = None,
) -> Figure:
    """Draw one row per query: the query, then its nearest references; those of another class have a thick dashed frame.

    Args:
        query_images: (Q,C,H,W), C 1 or 3.
        query_labels: (Q,).
        neighbor_images: (Q,k,C,H,W), nearest first.
        neighbor_labels: (Q,k).
        distances: (Q,k), written below each reference.
        class_names: Names by label.
        query_names: Names (Q,) of the images, of paths their last part; None leaves them out.
        neighbor_names: Names (Q,k) of the references, likewise.

    Example:
        >>> import numpy as np
        >>> images, labels = np.zeros((2, 1, 8, 8), np.uint8), np.array([0, 1])
        >>> figure = retrieval_gallery(
        ...     images, labels, np.stack([images] * 3, 1), np.zeros((2, 3), int), np.zeros((2, 3)), ["a", "b"]
        ... )
        >>> len(figure.axes)
        8
    """
    rows, columns = neighbor_labels.shape
    line = 0.0 if query_names is None and neighbor_names is None else 0.12  # inches, for the files' names
    width = max(_CELL * (columns + 1) + 0.3, 4.7)  # the title needs as much
    with lettering():
        figure = Figure(figsize=(width, (1.32 + line) * rows + 0.6), layout="constrained")
        figure.suptitle("Query and its nearest references (orange, dashed: another class)", fontsize=10)
        for row in range(rows):
            axes = figure.add_subplot(rows, columns + 1, row * (columns + 1) + 1)
            _image(axes, query_images[row], f"query: {class_names[query_labels[row]]}", "black", "-", 1.0)
            _below(axes, [] if query_names is None else [_file(query_names[row])])
            for column in range(columns):
                label = neighbor_labels[row, column]
                right = label == query_labels[row]
                axes = figure.add_subplot(rows, columns + 1, row * (columns + 1) + column + 2)
                colour, dashes, thick = (RIGHT, "-", 1.5) if right else (WRONG, "--", 3.5)
                _image(axes, neighbor_images[row, column], str(class_names[label]), colour, dashes, thick)
                name = [] if neighbor_names is None else [_file(neighbor_names[row][column])]
                _below(axes, [*name, f"d = {distances[row, column]:.3g}"])
    return figure


def _image(axes: Axes, image: NDArray[np.uint8], title: str, colour: str, line: str, width: float) -> None:
    grey = image.shape[0] == 1
    axes.imshow(image[0] if grey else image.transpose(1, 2, 0), cmap="gray" if grey else None, vmin=0, vmax=255)
    axes.set_title(fitted(title, _ROOM, _SIZE), fontsize=_SIZE, pad=3, parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=colour, linestyle=line, linewidth=width)


def _below(axes: Axes, lines: Sequence[str]) -> None:
    shown = "\n".join(fitted(line, _ROOM, _SIZE) for line in lines)
    axes.set_xlabel(shown, fontsize=_SIZE, labelpad=2, parse_math=False)


def _file(name: str) -> str:
    """Return the last part of a path: the folder is usually the class, which is written above."""
    return str(name).replace("\\", "/").rpartition("/")[2]
