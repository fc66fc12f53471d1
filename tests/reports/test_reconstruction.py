"""Strips of reconstructions and of paths between codes: what they show, not how they look."""

import numpy as np
import pytest

from dml.reports import interpolation_strip, png, reconstruction_strip


@pytest.mark.parametrize("channels", [1, 3])
def test_originals_stand_above_their_reconstructions_in_the_same_order(channels):
    images = np.random.default_rng(0).random((3, channels, 4, 5))
    figure = reconstruction_strip(images, {"d = 2": 1 - images, "d = 5": images})
    assert [axes.get_ylabel() for axes in figure.axes] == ["original", "d = 2", "d = 5"]
    original, second, last = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    assert original.shape[:2] == (4, 3 * 6 - 1)
    np.testing.assert_array_equal(original, last)
    shown = original[:, 6:11] if channels == 3 else original[:, 6:11, None]
    np.testing.assert_allclose(shown.transpose(2, 0, 1), images[1])
    np.testing.assert_allclose(second[:, 6:11], 1 - original[:, 6:11])
    assert png(figure).startswith(b"\x89PNG")


def test_the_line_between_images_is_white_and_values_outside_are_cut():
    figure = reconstruction_strip(np.full((2, 1, 3, 3), -5.0), {"again": np.full((2, 1, 3, 3), 7.0)})
    original, again = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    assert (original[:, 3] == 1).all()
    assert (original[:, :3] == 0).all()
    assert (again == 1).all()


def test_the_axis_below_a_path_tells_how_far_along_it_is():
    figure = interpolation_strip({"d = 3": np.zeros((5, 1, 8, 8)), "d = 5": np.zeros((5, 1, 8, 8))}, "linear")
    below = figure.axes[-1]
    assert [text.get_text() for text in below.get_xticklabels()] == ["0", "0.25", "0.5", "0.75", "1"]
    np.testing.assert_allclose(below.get_xticks(), [3.5, 12.5, 21.5, 30.5, 39.5])
    assert below.get_xlabel()
