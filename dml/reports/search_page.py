"""The page of a search: each query beside the images most like it."""

import base64
from collections.abc import Sequence
from typing import NamedTuple

from dml.reports import html

_SIZE = "width: 128px; height: 128px; object-fit: contain"
_WIDTH = "width: 132px; overflow-wrap: anywhere; font-weight: normal"


class Picture(NamedTuple):
    """An image on the page: JPEG bytes or None, its name and label, and its distance from the query."""

    content: bytes | None
    name: str
    label: str
    distance: float | None = None


class Answer(NamedTuple):
    """A query, what was found for it, nearest first, and how far the nearest image of all is."""

    query: Picture
    matches: list[Picture]
    nearest: float


def search_page(index: str, told: str, answers: Sequence[Answer], threshold: float | None = None) -> str:
    """Return the page, one row of thumbnails for each query.

    Args:
        index: The index's name.
        told: What is in it.
        answers: In the order asked.
        threshold: Beyond which nothing is a match; None: everything is.

    Example:
        >>> answer = Answer(Picture(None, "new.jpg", ""), [Picture(None, "a.jpg", "rose", 0.25)], 0.25)
        >>> "a.jpg" in search_page("photos", "1 image", [answer])
        True
    """
    most = max((len(answer.matches) for answer in answers), default=0)
    head = ["query", *(f"{rank}" for rank in range(1, most + 1))]
    rows = []
    for answer in answers:
        cells = [_cell(match) for match in answer.matches]
        if not cells:
            cells = [html.Thumbnail(f"<em>unknown</em><br>the nearest is at {answer.nearest:.4f}")]
        rows.append([_cell(answer.query), *cells, *([""] * (max(most, 1) - len(cells)))])
    unknown = sum(not answer.matches for answer in answers)
    lines = [html.paragraph(f"{len(answers)} queries; below each image: its distance, its label and its name.")]
    if threshold is not None:
        lines.append(html.paragraph(f"{threshold:g} or nearer counts as a match: {unknown} queries have none."))
    title = f"Search in {index}"
    return html.page(title, told, {"Found": [*lines, html.table(head if most else ["query", ""], rows, numbers=False)]})


def _cell(picture: Picture) -> html.Thumbnail:
    lines = [] if picture.distance is None else [f"{picture.distance:.4f}"]
    lines += [html.escape(picture.label)] if picture.label else []
    lines.append(f"<small>{html.escape(picture.name)}</small>")
    shown = "<em>no picture</em>"
    if picture.content is not None:
        data = base64.b64encode(picture.content).decode()
        name = html.escape(picture.name)
        shown = f'<img style="{_SIZE}" src="data:image/jpeg;base64,{data}" alt="{name}">'
    return html.Thumbnail(f'<div style="{_WIDTH}">{"<br>".join([shown, *lines])}</div>')
