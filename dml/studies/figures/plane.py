"""Studies in the plane: the regions a classifier decides for, and maps of a density."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from dml.reports.style import COLOURS, MARKERS

Floats = NDArray[np.float64]


class PlaneGrid(NamedTuple):
    """A regular grid: its coordinates along each axis, and all its points (steps²,2), row after row."""

    x: Floats
    y: Floats
    points: Floats

    def table(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return values (steps²,) of the points as a table (steps,steps), y downwards, x to the right."""
        return values.reshape(len(self.y), len(self.x))


def plane_grid(low: tuple[float, float], high: tuple[float, float], steps: int = 100) -> PlaneGrid:
    """Return a grid of steps × steps points that spans a rectangle, corners included.

    Args:
        low: Its corner with the smallest x and y.
        high: Its corner with the largest.
        steps: Points along each side, ≥ 2.

    Example:
        >>> plane_grid((0.0, 0.0), (1.0, 2.0), steps=2).points.tolist()
        [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [1.0, 2.0]]
    """
    x, y = (np.linspace(low[i], high[i], steps) for i in (0, 1))
    columns, rows = np.meshgrid(x, y)
    return PlaneGrid(x, y, np.stack([columns.ravel(), rows.ravel()], axis=1))


def decision_boundaries(
    grid: PlaneGrid,
    decisions: Mapping[str, NDArray[np.int64]],
    points: NDArray[np.floating],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    columns: int = 5,
) -> Figure:
    """Draw what each classifier decides for all over the plane, one panel per classifier, and the points over it.

    Args:
        grid: Where it was asked.
        decisions: By title, the class (steps²,) decided for at each point of the grid.
        points: (N,2); those outside the grid are not drawn.
        labels: (N,).
        class_names: Names by label.
        columns: Panels in a row.

    Example:
        >>> grid = plane_grid((-1.0, -1.0), (1.0, 1.0))
        >>> left_or_right = (grid.points[:, 0] > 0).astype(int)
        >>> figure = decision_boundaries(grid, {"x > 0": left_or_right}, np.zeros((1, 2)), np.array([1]), ["a", "b"])
        >>> figure.axes[0].get_title()
        'x > 0'
    """
    figure, panels = _panels(len(decisions), columns)
    for axes, (title, decided) in zip(panels, decisions.items(), strict=True):
        for label in np.unique(decided):  # one by one: between classes 0 and 2 there is no strip of class 1
            inside = grid.table((decided == label).astype(np.float64))
            colour = COLOURS[label % len(COLOURS)]
            axes.contourf(grid.x, grid.y, inside, levels=[0.5, 1.5], colors=[colour], alpha=0.3)
            if not inside.all():
                axes.contour(grid.x, grid.y, inside, levels=[0.5], colors="black", linewidths=0.6)
        _scatter(axes, points, labels, class_names)
        _frame(axes, grid, title)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False, markerscale=2
    )
    return figure


def labelled_points(points: NDArray[np.floating], labels: NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """Draw points in the plane, each class in its colour and marker: the data alone, before any classifier.

    Args:
        points: (N,2).
        labels: (N,).
        class_names: Names by label.

    Example:
        >>> labelled_points(np.zeros((2, 2)), np.array([0, 1]), ["a", "b"]).axes[0].get_xlabel()
        'first coordinate'
    """
    figure = Figure(figsize=(5, 4.2), layout="constrained")
    axes = figure.add_subplot(aspect="equal", xlabel="first coordinate", ylabel="second coordinate")
    _scatter(axes, points, labels, class_names, size=16)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=6, frameon=False)
    return figure


def density_maps(grid: PlaneGrid, densities: Mapping[str, Floats], unit: str, columns: int = 5) -> Figure:
    """Draw densities over the plane on one logarithmic colour scale, which a bar explains.

    The scale covers the 1st to the 99.9th per cent of all finite values; what lies beyond, infinity included, takes the
    colours of the bar's pointed ends.

    Args:
        grid: Where they were taken.
        densities: By title, (steps²,), ≥ 0.
        unit: Of the densities, for the bar.
        columns: Panels in a row.

    Example:
        >>> grid = plane_grid((-1.0, -1.0), (1.0, 1.0))
        >>> near_zero = np.exp(-np.square(grid.points).sum(axis=1))
        >>> density_maps(grid, {"a bell": near_zero}, "points per unit area").axes[-1].get_ylabel()
        'points per unit area'
    """
    figure, panels = _panels(len(densities), columns)
    values = np.concatenate(list(densities.values()))
    low, high = np.quantile(values[np.isfinite(values) & (values > 0)], [0.01, 0.999])
    scale = LogNorm(low, max(high, low * (1 + 1e-9)))
    for axes, (title, density) in zip(panels, densities.items(), strict=True):
        shown = grid.table(np.clip(density, low / 10, high * 10))
        mesh = axes.pcolormesh(grid.x, grid.y, shown, norm=scale, cmap="cividis", shading="nearest", rasterized=True)
        _frame(axes, grid, title)
    figure.colorbar(mesh, ax=panels, extend="both", label=unit, shrink=0.9, aspect=30)
    return figure


def _panels(count: int, columns: int) -> tuple[Figure, list[Axes]]:
    columns = min(columns, count)
    rows = -(-count // columns)
    layout = ConstrainedLayoutEngine(rect=(0.01, 0.01, 0.98, 0.95))  # panels of equal aspect would cut their titles off
    figure = Figure(figsize=(2.4 * columns + 1, 2.4 * rows + 0.8), layout=layout)
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def _scatter(
    axes: Axes, points: NDArray[np.floating], labels: NDArray[np.int64], class_names: Sequence[str], size: float = 7
) -> None:
    for label, name in enumerate(class_names):
        colour, marker = COLOURS[label % len(COLOURS)], MARKERS[label % len(MARKERS)]  # both differ: legible in print
        chosen = points[labels == label]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=size, c=colour, marker=marker, linewidths=0, label=name)


def _frame(axes: Axes, grid: PlaneGrid, title: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set(xlim=(grid.x[0], grid.x[-1]), ylim=(grid.y[0], grid.y[-1]))
    axes.set_xlabel("first coordinate", fontsize=7)
    axes.set_ylabel("second coordinate", fontsize=7)
    axes.tick_params(labelsize=7)
    axes.set_aspect("equal")
    axes.label_outer()
