"""The page: well formed, self-contained, and safe whatever the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from dml.reports import page


def test_a_page_of_everything_is_well_formed_and_refers_to_nothing_outside(read_page):
    pieces = [
        page.paragraph("see `dml fit`"),
        page.note("nothing"),
        page.details("recipe", "a: 1\nb: 2"),
        page.table(["a", "b"], [["1", page.thumbnail(b"x", "n")]]),
        page.drawing(Figure(), "figure"),
        page.picture(b"x", "picture"),
    ]
    reader = read_page(page.page("title", "subtitle", {"One": pieces, "Two": []}))
    assert reader.tags.count("section") == 2
    assert reader.tags.count("img") == 3
    assert {"#section-1", "#section-2"} <= set(reader.links)


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="`\r\x00")))
def test_any_text_stays_text(read_page, text):
    hostile = text + "<script>alert(1)</script>\"'><img onerror=x>"
    pieces = [page.paragraph(hostile), page.note(hostile), page.details(hostile, hostile)]
    pieces += [page.table([hostile], [[hostile, hostile]]), page.picture(b"", hostile)]
    reader = read_page(page.page(hostile, hostile, {hostile: pieces}))
    assert "script" not in reader.tags
    assert hostile in "".join(reader.text)


def test_equal_figures_give_equal_pages():
    one, other = (Figure() for _ in range(2))
    for figure in (one, other):
        figure.add_subplot().plot([1, 2])
    assert page.drawing(one, "x") == page.drawing(other, "x")


@pytest.mark.parametrize("text", ["$title", "${style}", "$$"])
def test_a_dollar_is_a_dollar(read_page, text):
    assert text in "".join(read_page(page.page(text, "", {})).text)
