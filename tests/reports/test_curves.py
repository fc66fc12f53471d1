"""Curves: means, deviations, axes."""

import numpy as np
import pytest

from dml.reports.curves import swept_curves, swept_heatmap, swept_points, training_curves


def test_training_curves_leave_out_what_cannot_be_drawn():
    figure = training_curves({"a": ([0, 1, 2], [1.0, np.nan, 0.0]), "b": ([5], [2.0])}, "loss", log=True)
    first, second = figure.axes[0].lines
    assert first.get_xydata().tolist() == [[0.0, 1.0]]
    assert second.get_xydata().tolist() == [[5.0, 2.0]]
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in (first, second)}) == 2
    assert figure.axes[0].get_yscale() == "log"


def test_error_bars_are_standard_deviations_and_values_are_sorted():
    samples = [[0.9, 0.5, 0.7], [0.2, 0.4, 0.3]]
    line, _, bars = swept_curves([0.5, 0.1], {"error": samples}, "margin").axes[0].containers[0]
    assert line.get_xydata().ravel() == pytest.approx([0.1, 0.3, 0.5, 0.7])
    heights = [segment[1][1] - segment[0][1] for segment in bars[0].get_segments()]
    assert heights == pytest.approx([2 * np.std(samples[1], ddof=1), 2 * np.std(samples[0], ddof=1)])


@pytest.mark.parametrize(
    ("values", "scale", "ticks"),
    [
        ([1e-4, 1e-3, 1e-2], "log", None),
        ([0.1, 0.2, 0.3], "linear", None),
        (["hinge", "softplus"], "linear", ["hinge", "softplus"]),
        ([True, None], "linear", ["True", "None"]),
    ],
)
def test_the_axis_fits_the_values(values, scale, ticks):
    axes = swept_curves(values, {"score": [[0.5]] * len(values)}, "key").axes[0]
    assert axes.get_xscale() == scale
    if ticks:
        assert [text.get_text() for text in axes.get_xticklabels()] == ticks


def test_a_second_key_makes_lines():
    axes = swept_curves([1, 2, 1, 2], {"s": [[0.1], [0.2], [0.3], [0.4]]}, "k", ("lr", [5, 5, 6, 6])).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["lr = 5", "lr = 6"]
    assert axes.containers[1][0].get_ydata().tolist() == [0.3, 0.4]


def test_a_heat_map_holds_each_mean_in_its_cell():
    axes = swept_heatmap([2, 1, 2], ["b", "b", "a"], [[0.1, 0.3], [0.5], [0.9]], ("k", "l"), "s").axes[0]
    table = np.ma.filled(axes.images[0].get_array(), np.nan)
    np.testing.assert_allclose(table, [[0.5, 0.2], [np.nan, 0.9]])
    assert sorted(text.get_text() for text in axes.texts) == ["0.2", "0.5", "0.9"]


def test_a_panel_for_each_key():
    figure = swept_points({"a": [1, 2], "b": ["x", "y"], "c": [1, 1], "d": [0, 1]}, [[0.1], [0.2, 0.4]], "score")
    assert [axes.get_xlabel() for axes in figure.axes] == ["a", "b", "c", "d"]
    assert figure.axes[0].containers[0][0].get_ydata() == pytest.approx([0.1, 0.3])


def test_the_label_tells_of_how_many_seeds():
    assert swept_curves([1, 2], {"a": [[1.0], [1.0]]}, "k").axes[0].get_ylabel() == "a"
    axes = swept_curves([1, 2], {"val/a": [[1, 2], [1]], "train/b": [[1], [1]]}, "k").axes[0]
    assert axes.get_ylabel() == "score\n(mean ± sd over up to 2 seeds)"
