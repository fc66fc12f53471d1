"""Names of any script and length in pictures: no warning, no missing letter, nothing outside the picture."""

import numpy as np
import pytest
from matplotlib.axis import Tick
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from dml.reports import lettering
from dml.reports.curves import swept_curves, swept_heatmap, swept_points, training_curves
from dml.reports.evidence import confusion_picture, score_intervals
from dml.reports.gallery import retrieval_gallery
from dml.reports.lettering import drawable, fitted, width_of
from dml.reports.projection import embedding_map
from dml.reports.style import png
from dml.studies.figures import image_sheet

NAMES = ["向日葵", "玫瑰 rose", "زهرة الأقحوان", "🌹🌻", "日本の桜", "👩🏽\u200d🔬", "$5_to_$10", "Ромашка"]
NAMES += ["W" * 90, "\U00013000\u202e"]
KEY = "model.init_args.optimizer.init_args.a_key_of_which_nobody_has_heard"
FOUR = [f"{who} (validation)" for who in ("raw pixels", "untrained encoder", "trained", "trained once more")]
LABELS = np.arange(40) % 10
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (10, 3, 8, 8), np.uint8)


def _gallery(columns):
    near = RNG.integers(0, 255, (2, columns, 3, 8, 8), np.uint8)
    names = [[f"x/{NAMES[at]}.jpg" for at in range(columns)]] * 2
    labels = np.arange(2 * columns).reshape(2, columns) % 10
    return retrieval_gallery(IMAGES[:2], np.array([0, 8]), near, labels, np.ones((2, columns)), NAMES, NAMES[:2], names)


FIGURES = {
    "map": lambda: embedding_map(RNG.normal(size=(40, 2)), LABELS, NAMES, "40 held-back images (t-SNE, perplexity 9)"),
    "gallery": lambda: _gallery(8),
    "narrow gallery": lambda: _gallery(1),
    "confusion": lambda: confusion_picture(np.eye(10) + 1, NAMES),
    "intervals": lambda: score_intervals({name: {"map_at_r": 0.5, "mrr": 0.6} for name in NAMES}, {}),
    "scores of a run": lambda: score_intervals({name: {"map_at_r": 0.5} for name in FOUR}, {}),
    "curves": lambda: training_curves({name: ([1, 2], [at, 2]) for at, name in enumerate(NAMES)}, "train/loss"),
    "swept": lambda: swept_curves(NAMES, {"val/map_at_r": [[0.5, 0.6]] * 10}, KEY),
    "swept lines": lambda: swept_curves([1, 2] * 5, {"s": [[0.5]] * 10}, KEY, (KEY, NAMES)),
    "heat map": lambda: swept_heatmap([1, 2], NAMES[:2], [[0.1], [0.2]], (KEY, KEY), "val/knn_accuracy"),
    "panels": lambda: swept_points({KEY: NAMES[:2], "k": [1, 2]}, [[0.1], [0.2]], "val/knn_macro_precision"),
    "sheet": lambda: image_sheet(IMAGES.transpose(0, 2, 3, 1), np.arange(10), NAMES, per_class=1),
}


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_no_letter_is_missing_and_none_is_cut_off(figure):
    drawn = figure()
    canvas = FigureCanvasAgg(drawn)
    canvas.draw()  # a missing letter is a warning, and that an error here
    width, height = drawn.bbox.size
    for text in _drawn_texts(drawn):
        box = text.get_window_extent()
        assert min(box.x0, box.y0) >= -1, text.get_text()
        assert box.x1 <= width + 1, text.get_text()
        assert box.y1 <= height + 1, text.get_text()
    assert png(drawn).startswith(b"\x89PNG")


def _drawn_texts(figure):
    """Return the texts of a figure without the labels of ticks beyond the ends of an axis, which are not drawn."""
    sides = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    shown = {label for axis in sides if axis.axes.axison for tick in axis._update_ticks() for label in _labels(tick)}
    texts = figure.findobj(Text)
    labels = {label for axis in sides for tick in axis.findobj(Tick) for label in _labels(tick)}
    kept = [text for text in texts if text not in labels or text in shown]
    return [text for text in kept if text.get_visible() and text.get_text().strip()]


def _labels(tick):
    return tick.label1, tick.label2


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("iris", "iris"),
        ("Ромашка", "Ромашка"),
        ("a 🌹", "a [rose]"),
        ("\U00013000b", "\\U00013000b"),
        ("caf\udce9\x1b", "caf?\\x1b"),
    ],
)
def test_what_no_font_draws_is_replaced(monkeypatch, name, shown):
    monkeypatch.setattr(lettering, "_FURTHER", ())
    _forget()
    assert drawable(name) == shown
    _forget()


def test_an_installed_font_draws_what_matplotlibs_own_lacks(monkeypatch):
    monkeypatch.setattr(lettering, "_FURTHER", ("STIXGeneral", "a font that is not installed"))
    _forget()
    own, further = lettering._families().values()
    letter = chr(min(code for code in further - own if chr(code).isprintable()))
    assert drawable(letter) == letter
    with lettering.lettering():
        figure = confusion_picture(np.eye(2), [letter, "b"])
    assert png(figure).startswith(b"\x89PNG")  # without a warning
    _forget()


def test_a_long_name_keeps_its_ends_and_fits():
    shown = fitted("the_beginning" + "x" * 80 + "the_end", 100, 8)
    assert shown.startswith("the_be")
    assert shown.endswith("_end")
    assert 80 < width_of(shown, 8) <= 100
    assert fitted("short", 100, 8) == "short"
    numbered = fitted("图像_image_0401.jpg", 70, 7)
    assert numbered.endswith("_0401.jpg")  # an escape is as wide as six letters
    assert width_of(numbered, 7) <= 70
    assert width_of(fitted("👩🏽\u200d🔬" * 9, 30, 7), 7) <= 30


def _forget():
    """Let the fonts be looked for anew."""
    for known in (lettering._families, lettering._drawable, lettering.width_of):
        known.cache_clear()
