"""Pictures of folds, of the plane and of correlations: what they show, not how they look."""

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from dml.errors import UserError
from dml.reports import png
from dml.studies.figures import (
    LinearStudy,
    correlation_maps,
    decision_boundaries,
    density_maps,
    error_against_k,
    error_bars,
    image_sheet,
    labelled_points,
    linear_boundaries,
    plane_grid,
)


def test_error_against_k_shows_mean_and_standard_error_of_each_metric():
    folds = np.array([[0.1, 0.3, 0.2, 0.4], [0.5, 0.5, 0.5, 0.5]])
    axes = error_against_k([1, 7], {"l1": folds, "l2": folds + 0.1}).axes[0]
    lines, segments = axes.containers[0][0], axes.containers[0][2][0].get_segments()
    np.testing.assert_allclose(lines.get_xydata(), [[1, 0.25], [7, 0.5]])
    half = (segments[0][1, 1] - segments[0][0, 1]) / 2
    assert half == pytest.approx(folds[0].std(ddof=1) / 2)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["l1", "l2"]


def test_bars_start_at_zero_and_carry_their_means():
    figure = error_bars({"l1": [0.1, 0.3], "linf": [0.5, 0.7]}, "error")
    axes = figure.axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0.2, 0.6])
    assert axes.get_ylim()[0] == 0
    assert [text.get_text() for text in axes.get_xticklabels()] == ["l1", "linf"]


def test_the_grid_holds_every_pair_of_coordinates_and_tables_follow_it():
    grid = plane_grid((-1.0, 0.0), (1.0, 6.0), steps=3)
    assert grid.points.shape == (9, 2)
    np.testing.assert_array_equal(grid.table(grid.points[:, 0])[0], grid.x)
    np.testing.assert_array_equal(grid.table(grid.points[:, 1])[:, 2], grid.y)


def test_regions_are_those_decided_for_and_the_border_lies_between_them():
    grid = plane_grid((-1.0, -1.0), (1.0, 1.0))
    decided = (grid.points[:, 0] > 0.5).astype(int)
    points, labels = np.array([[0.9, 0.0], [-0.9, 0.0], [-0.8, 0.1]]), np.array([1, 0, 0])
    figure = decision_boundaries(grid, {"one": decided, "two": 1 - decided, "all 0": 0 * decided}, points, labels, "ab")
    axes = figure.axes[0]
    border = axes.collections[1].get_paths()[0].vertices
    assert np.abs(border[:, 0] - 0.5).max() < 0.03
    drawn = [len(series.get_offsets()) for series in axes.collections if isinstance(series, PathCollection)]
    assert drawn == [2, 1]
    assert [panel.get_title() for panel in figure.axes] == ["one", "two", "all 0"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert png(figure).startswith(b"\x89PNG")


def test_maps_share_one_scale_and_infinite_densities_are_drawn():
    grid = plane_grid((-1.0, -1.0), (1.0, 1.0), steps=20)
    one = 1 / np.square(grid.points).sum(axis=1)
    one[0] = np.inf
    figure = density_maps(grid, {"a": one, "b": 2 * one, "c": np.zeros(400)}, "share per unit area", columns=2)
    meshes = [axes.collections[0] for axes in figure.axes[:3]]
    assert len({mesh.norm.vmin for mesh in meshes} | {mesh.norm.vmax for mesh in meshes}) == 2
    assert np.isfinite(np.asarray(meshes[0].get_array())).all()
    assert png(figure).startswith(b"\x89PNG")


def test_no_strip_of_another_class_lies_between_two():
    grid = plane_grid((-1.0, -1.0), (1.0, 1.0))
    decided = 2 * (grid.points[:, 0] > 0).astype(int)  # classes 0 and 2 alone
    axes = decision_boundaries(grid, {"": decided}, np.zeros((0, 2)), np.zeros(0, int), "abc").axes[0]
    filled = {tuple(c.get_facecolor()[0].round(3)) for c in axes.collections if len(c.get_facecolor())}
    assert len(filled - {tuple(c.get_facecolor()[0].round(3)) for c in axes.collections[-3:]}) == 2


def test_correlation_maps_share_one_scale_and_leave_constant_dimensions_grey():
    matrix = np.array([[1.0, 0.5, np.nan], [0.5, 1.0, np.nan], [np.nan] * 3])
    figure = correlation_maps({f"d = {i}": matrix for i in range(6)}, "title")
    panels = [axes for axes in figure.axes if axes.images and axes.get_title()]
    assert [axes.get_title() for axes in panels] == [f"d = {i}" for i in range(6)]
    assert {axes.images[0].get_clim() for axes in panels} == {(-1, 1)}
    assert panels[0].images[0].get_array().mask.tolist() == np.isnan(matrix).tolist()
    assert png(figure).startswith(b"\x89PNG")


def test_the_data_alone_is_every_point_of_every_class():
    figure = labelled_points(np.array([[0.0, 1.0], [5.0, -2.0], [1.0, 1.0]]), np.array([0, 1, 1]), ["a", "b"])
    drawn = [c.get_offsets().tolist() for c in figure.axes[0].collections if isinstance(c, PathCollection)]
    assert drawn == [[[0.0, 1.0]], [[5.0, -2.0], [1.0, 1.0]]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_lines_lie_where_they_are_zero_and_the_outlier_is_within_its_panel_and_ringed():
    points, labels = np.array([[-1.0, 0.0], [1.0, 0.5], [-16.0, 0.0], [1.2, -0.5]]), np.array([1, 0, 1, 0])
    lines = {
        "slanted": np.array([1.0, 2.0, -1.0]),
        "level": np.array([-0.2, 0.0, 1.0]),
        "upright": np.array([1.0, 1.0, 0.0]),
    }
    studies = {name: LinearStudy(points, labels, outlier, lines) for name, outlier in (("far", 2), ("near", 3))}
    figure = linear_boundaries(studies, ["right", "left"])
    rings = [axes.collections[2].get_offsets().tolist() for axes in figure.axes]
    assert rings == [[[-16.0, 0.0]], [[1.2, -0.5]]]
    axes = figure.axes[0]
    assert axes.get_xlim()[0] < -16
    assert axes.get_xlim()[1] > 1.2
    for line, (bias, *w) in zip(axes.lines, lines.values(), strict=True):
        first, second = np.array(line.get_xy1()), np.array(line.get_xy2())
        assert bias + w @ first == pytest.approx(0, abs=1e-12)
        assert bias + w @ second == pytest.approx(0, abs=1e-12)
        assert not np.allclose(first, second)
    assert png(figure).startswith(b"\x89PNG")


def test_a_sheet_holds_the_first_images_of_each_class():
    images, labels = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8), np.array([0, 1] * 3)
    figure = image_sheet(images, labels, ["a", "b"], per_class=2)
    columns = [np.asarray(axes.images[0].get_array())[::2, 0].tolist() for axes in figure.axes]
    assert columns == [[0, 2], [1, 3]]
    with pytest.raises(UserError, match="class a has 3 images: give per_class=3"):
        image_sheet(images, labels, ["a", "b"], per_class=4)
