"""The sections of a page on the neighbours of held-back images: confusion, suspicious labels, hubs."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dml.reports import html
from dml.reports.evidence import confusion_picture, hubness_histogram, skewness

_PAIRS = 10  # most frequent confusions that are listed
_LISTED = 60  # suspects


class Suspect(NamedTuple):
    """An image whose neighbours agree on another class than its own."""

    name: str
    label: str
    proposed: str  # the class the neighbours agree on
    votes: int  # neighbours that do
    pictures: NDArray[np.uint8] | None = None  # (1+n,C,H,W) of the image and its nearest references


def confusion_section(shares: NDArray[np.floating], class_names: Sequence[str], k: int) -> list[str]:
    """Return which class is taken for which in the vote of the nearest references, the most frequent mistakes first.

    Args:
        shares: (C,C) images of row i that were taken for column j.
        class_names: Names (C,).
        k: Neighbours that voted.

    Example:
        >>> confusion_section(np.array([[3.0, 1.0], [0.0, 4.0]]), ["ash", "birch"], k=5)[1].count("<tr>")
        2
    """
    figure = confusion_picture(shares, class_names, "held-back images")
    wrong = shares - np.diag(shares.diagonal())
    rows = []
    for place in np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]:
        true, taken = np.unravel_index(place, wrong.shape)
        if wrong[true, taken] > 0:
            count = f"{wrong[true, taken]:g} of {shares[true].sum():g}"
            rows.append([class_names[true], class_names[taken], count])
    picture = html.drawing(figure, f"A vote of the {k} nearest references; numbers are per cent of the row's class")
    listed = html.table(["class", "taken for", "images"], rows, numbers=False)
    return [picture, listed if rows else html.paragraph("No image is taken for another class.")]


def suspects_section(suspects: Sequence[Suspect], k: int) -> list[str]:
    """Return images whose neighbours agree on another class, with thumbnails if there are any.

    Args:
        suspects: The surest first.
        k: Neighbours asked.

    Example:
        >>> suspects_section([], k=10)
        ['<p>None: of no held-back image do four fifths of its 10 nearest agree on another class.</p>']
    """
    if not suspects:
        return [
            html.paragraph(f"None: of no held-back image do four fifths of its {k} nearest agree on another class.")
        ]
    told = (
        f"{len(suspects)} held-back images of whose {k} nearest references at least four fifths are of one "
        "other class: the label is wrong, the image shows two things, or the embedding fails on it. Look at them."
    )
    rows = []
    for suspect in suspects[:_LISTED]:
        own, others = _thumbnails(suspect)
        rows.append([suspect.name, own, suspect.label, f"{suspect.proposed} ({suspect.votes} of {k})", others])
    head = ["image", "", "labelled", "its neighbours say", "nearest references"]
    pieces = [html.paragraph(told), html.table(head, rows, numbers=False)]
    rest = len(suspects) - len(rows)
    return [*pieces, html.paragraph(f"and {rest} more")] if rest else pieces


def hubness_section(counts: NDArray[np.integer], num_queries: int, k: int) -> list[str]:
    """Return how evenly references are found.

    Args:
        counts: (R,) how often each reference is among the k nearest of a query.
        num_queries: Queries asked.
        k: Neighbours of each.

    Example:
        >>> "1 of 3 references are never found" in hubness_section(np.array([2, 1, 0]), num_queries=3, k=1)[1]
        True
    """
    told = (
        f"The most frequent reference is among the {k} nearest of {counts.max()} of {num_queries} queries; "
        f"{np.count_nonzero(counts == 0)} of {len(counts)} references are never found; skewness {skewness(counts):.2f} "
        "(0 is even; hubs, which are near to everything, push it above 1)."
    )
    return [html.drawing(hubness_histogram(counts, k), "How often references are found"), html.paragraph(told)]


def _thumbnails(suspect: Suspect) -> tuple[str, str]:
    """Return the thumbnails of a suspect and of its neighbours; empty if it has no pictures."""
    if suspect.pictures is None:
        return "", ""
    own, *others = map(_png, suspect.pictures)
    return html.thumbnail(own, "image"), html.Thumbnail("".join(html.thumbnail(other, "") for other in others))


def _png(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
