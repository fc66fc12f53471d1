"""Pictures: what they show, not how they look."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from dml.reports import embedding_map, pixels, png, retrieval_gallery, weight_histogram
from dml.reports.style import COLOURS, MARKERS, RIGHT, WRONG, class_style


@pytest.mark.parametrize("channels", [1, 3])
def test_wrong_references_have_a_dashed_frame_of_their_own(channels):
    images = np.zeros((2, channels, 4, 4), np.uint8)
    neighbors, labels = np.stack([images] * 2, axis=1), np.array([[0, 1], [1, 1]])
    figure = retrieval_gallery(images, np.array([0, 1]), neighbors, labels, np.ones((2, 2)), ["a", "b"])
    frames = [
        (to_hex(axes.spines["left"].get_edgecolor()), axes.spines["left"].get_linestyle()) for axes in figure.axes
    ]
    right, wrong = (RIGHT.lower(), "-"), (WRONG.lower(), "--")
    assert [frames[1], frames[2], frames[4], frames[5]] == [right, wrong, right, right]
    assert figure.axes[0].get_title() == "query: a"
    assert png(figure).startswith(b"\x89PNG")


def test_the_map_has_one_series_a_class_and_a_legend():
    labels = np.repeat(np.arange(3), 5)
    figure = embedding_map(np.random.default_rng(0).normal(size=(15, 2)), labels, ["a", "b", "c"], "PCA")
    assert len(figure.axes[0].collections) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]


def test_a_legend_of_many_classes_is_left_out():
    labels = np.arange(40)
    figure = embedding_map(np.zeros((40, 2)), labels, [str(i) for i in labels], "PCA")
    assert figure.legends == []


def test_twelve_classes_have_twelve_markers_and_eighty_four_look_different():
    assert len({class_style(label)[1] for label in range(12)}) == 12
    assert len({class_style(label) for label in range(84)}) == len(COLOURS) * len(MARKERS)


def test_classes_are_named_at_their_middles_without_covering_each_other():
    labels = np.arange(48) % 12
    points = np.random.default_rng(0).normal(size=(12, 2))[labels] + 0.01 * np.arange(48)[:, None]
    points[labels == 3] = points[labels == 2]  # of which one would hide the other
    names = [f"class {label}" for label in range(12)]
    figure = embedding_map(points, labels, names, "t-SNE")
    axes = figure.axes[0]
    png(figure)
    assert [text.get_text() for text in axes.texts] == names
    middles = np.array([np.median(points[labels == label], axis=0) for label in range(12)])
    far = np.abs([text.xy for text in axes.texts] - middles)
    assert far.max() < 1e-9
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not [1 for i, one in enumerate(boxes) for other in boxes[:i] if one.shrunk(0.95, 0.8).overlaps(other)]
    assert "no unit" not in axes.get_xlabel() + axes.get_ylabel()


def test_the_gallery_names_the_files():
    images = np.zeros((1, 1, 4, 4), np.uint8)
    figure = retrieval_gallery(
        images, np.array([0]), images[None], np.array([[0]]), np.ones((1, 1)), ["a"], ["x/new.jpg"], [["x/old.jpg"]]
    )
    assert [axes.get_xlabel() for axes in figure.axes] == ["new.jpg", "old.jpg\nd = 1"]


def test_histograms_count_every_weight_over_the_same_bins():
    figure = weight_histogram(np.zeros(7), np.ones(9), "P")
    before, after = figure.axes[0].containers[0], figure.axes[0].patches[-1]
    assert sum(bar.get_height() for bar in before) == 7
    assert after.get_xy()[:, 1].max() == 9


def test_pixels_are_those_that_savefig_writes():
    figure = weight_histogram(np.zeros((3, 3)), np.eye(3), "weight")
    saved = io.BytesIO()
    figure.savefig(saved, format="png", dpi=120)
    assert np.array_equal(pixels(figure), np.asarray(Image.open(saved).convert("RGB")))
    assert np.array_equal(pixels(figure), np.asarray(Image.open(io.BytesIO(png(figure)))))
    assert figure.dpi != 120
