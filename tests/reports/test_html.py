"""The page: well formed, self-contained, and safe whatever the text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from dml.errors import printable
from dml.reports import html


def test_a_page_of_everything_is_well_formed_and_refers_to_nothing_outside(read_page):
    pieces = [
        html.paragraph("see `dml fit`"),
        html.note("nothing"),
        html.folded("recipe", "a: 1\nb: 2"),
        html.table(["a", "b"], [["1", html.thumbnail(b"x", "n")]]),
        html.drawing(Figure(), "figure"),
        html.picture(b"x", "picture"),
    ]
    reader = read_page(html.page("title", "subtitle", {"One": pieces, "Two": []}))
    assert reader.tags.count("section") == 2
    assert reader.tags.count("img") == 3
    assert {"#section-1", "#section-2"} <= set(reader.links)


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="`\r\x00")))
def test_any_text_stays_text(read_page, text):
    hostile = text + "<script>alert(1)</script>\"'><img onerror=x>"
    pieces = [html.paragraph(hostile), html.note(hostile), html.folded(hostile, hostile)]
    pieces += [html.table([hostile], [[hostile, hostile]]), html.picture(b"", hostile)]
    reader = read_page(html.page(hostile, hostile, {hostile: pieces}))
    assert "script" not in reader.tags
    assert printable(hostile, lines=True) in "".join(reader.text)


def test_equal_figures_give_equal_pages():
    one, other = (Figure() for _ in range(2))
    for figure in (one, other):
        figure.add_subplot().plot([1, 2])
    assert html.drawing(one, "x") == html.drawing(other, "x")


@pytest.mark.parametrize("text", ["$title", "${style}", "$$"])
def test_a_dollar_is_a_dollar(read_page, text):
    assert text in "".join(read_page(html.page(text, "", {})).text)


def test_the_page_opens_with_its_lead_and_takes_the_windows_width(read_page):
    pictures = html.side_by_side([html.picture(b"", "one"), html.picture(b"", "two")])
    text = html.page("a run", "digits", {"Curves": [pictures]}, lead="`x` is <better>. It is.")
    read_page(text)
    assert '<p class="lead"><code>x</code> is &lt;better&gt;. It is.</p>' in text
    assert text.index('class="lead"') < text.index("<nav")
    width = float(re.search(r"body \{[^}]*max-width: (\d+)rem", text)[1])
    assert width >= 100  # 1,600 pixels
    assert ".side-by-side { display: grid" in text
    assert 'class="lead"' not in html.page("a run", "digits", {})
