"""Pictures of what stands behind a score."""

import numpy as np
import pytest
from scipy.stats import skew

from dml.reports.evidence import confusion_picture, hubness_histogram, score_intervals, skewness
from dml.reports.style import png


def test_intervals_reach_from_low_to_high():
    figure = score_intervals(
        {"pixels": {"map": 0.3}, "trained": {"map": 0.5, "mrr": 0.8}}, {"trained": {"map": (0.35, 0.6)}}
    )
    trained = figure.axes[0].containers[1]
    assert trained[0].get_xdata() == pytest.approx([0.5, 0.8])
    assert [segment[:, 0].tolist() for segment in trained[2][0].get_segments()] == [
        pytest.approx([0.35, 0.6]),
        pytest.approx([0.8, 0.8]),
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["pixels", "trained"]


def test_confusion_rows_are_shares_of_their_class():
    axes = confusion_picture(np.array([[3.0, 1.0], [0.0, 0.0]]), ["ash", "$birch$ <b>"]).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 0]])
    assert {text.get_text() for text in axes.texts} == {"75", "25"}
    assert [text.get_text() for text in axes.get_yticklabels()] == ["ash", "$birch$ <b>"]


def test_many_classes_show_the_most_confused():
    counts = 10 * np.eye(200)
    counts[[7, 150], [8, 3]] = 5
    figure = confusion_picture(counts, [f"class {i}" for i in range(200)])
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert {"class 7", "class 8", "class 150", "class 3"} <= set(names)
    assert len(names) == 30
    assert "30 classes of 200" in figure.axes[0].get_title()
    assert png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("top", [0, 1, 40, 5000])
def test_the_histogram_counts_every_reference(top):
    counts = np.append(np.random.default_rng(0).integers(0, 3, 500), top)
    bars = hubness_histogram(counts, 10).axes[0].patches
    assert sum(bar.get_height() for bar in bars) == 501
    assert len(bars) <= 62


def test_skewness_is_scipys():
    counts = np.random.default_rng(0).poisson(2, 400)
    assert skewness(counts) == pytest.approx(skew(counts))
