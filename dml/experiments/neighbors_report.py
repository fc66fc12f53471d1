"""The parts of a report that come from the neighbours of the held-back images: confusion, suspects, hubs."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dml import runs
from dml.errors import UserError
from dml.evaluation import confusion_matrix
from dml.evaluation.hubs import (
    Neighborhoods,
    find_suspects,
    occurrences,
    read_neighborhoods,
)
from dml.reports import html
from dml.reports.evidence import confusion_picture, hubness_histogram, skewness

_K = 10  # neighbours asked for hubs and suspects
_PAIRS = 10  # most frequent confusions that are listed
_LISTED = 60  # suspects


def confusion_section(run: Path) -> list[str]:
    """Return who is taken for whom in the vote of the nearest references, the most frequent mistakes first."""
    found = _read(run)
    if found is None:
        return [_missing(run)]
    near, more = found
    k = int(more["votes"])
    confusion = confusion_matrix(near.neighbor_labels[:, :k], near.labels)
    names = [str(more["class_names"][label]) for label in confusion.classes]
    figure = confusion_picture(confusion.shares, names, "held-back images")
    wrong = confusion.shares - np.diag(confusion.shares.diagonal())
    rows = []
    for place in np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]:
        true, taken = np.unravel_index(place, wrong.shape)
        if wrong[true, taken] > 0:
            count = f"{wrong[true, taken]:g} of {confusion.shares[true].sum():g}"
            rows.append([names[true], names[taken], count])
    pieces = [html.drawing(figure, f"A vote of the {k} nearest references; numbers are per cent of the row's class")]
    listed = html.table(["class", "taken for", "images"], rows, numbers=False)
    return [*pieces, listed if rows else html.paragraph("No image is taken for another class.")]


def suspects_section(run: Path) -> list[str]:
    """Return held-back images whose neighbours agree on another class, with thumbnails."""
    found = _read(run)
    if found is None:
        return [_missing(run)]
    near, more = found
    suspects = find_suspects(near, _K)
    k = min(_K, near.neighbor_labels.shape[1])
    if not len(suspects.positions):
        return [
            html.paragraph(f"None: of no held-back image do four fifths of its {k} nearest agree on another class.")
        ]
    rows = []
    for at, (position, proposed, share) in enumerate(zip(*suspects, strict=True)):
        if at == _LISTED:
            break
        own, others = _thumbnails(more, at)
        names = [str(more["class_names"][label]) for label in (near.labels[position], proposed)]
        rows.append([str(more["names"][position]), own, names[0], f"{names[1]} ({share * k:.0f} of {k})", others])
    told = (
        f"{len(suspects.positions)} held-back images of whose {k} nearest references at least four fifths are of one "
        "other class: the label is wrong, the image shows two things, or the embedding fails on it. Look at them."
    )
    head = ["image", "", "labelled", "its neighbours say", "nearest references"]
    pieces = [html.paragraph(told), html.table(head, rows, numbers=False)]
    rest = len(suspects.positions) - len(rows)
    return [*pieces, html.paragraph(f"and {rest} more")] if rest else pieces


def hubness_section(run: Path) -> list[str]:
    """Return how evenly references are found."""
    found = _read(run)
    if found is None:
        return [_missing(run)]
    near, _ = found
    k = min(_K, near.neighbor_labels.shape[1])
    counts = occurrences(near, k)
    figure = hubness_histogram(counts, k)
    told = (
        f"The most frequent reference is among the {k} nearest of {counts.max()} of {len(near.labels)} queries; "
        f"{np.count_nonzero(counts == 0)} of {len(counts)} references are never found; skewness {skewness(counts):.2f} "
        "(0 is even; hubs, which are near to everything, draw it above 1)."
    )
    return [html.drawing(figure, "How often references are found"), html.paragraph(told)]


def _read(run: Path) -> tuple[Neighborhoods, dict[str, NDArray[Any]]] | None:
    path = runs.neighbors_path(run, "val")
    if not path.exists():
        return None
    near, more = read_neighborhoods(path)
    if missing := {"votes", "class_names", "names"} - more.keys():
        raise UserError(f"{path} lacks {', '.join(sorted(missing))}: write it anew with `dml evaluate --run {run}`")
    return near, more


def _missing(run: Path) -> str:
    return html.note(f"The run holds no neighbours of its validation images: `dml evaluate --run {run}` writes them.")


def _thumbnails(more: dict[str, NDArray[Any]], at: int) -> tuple[str, str]:
    """Return the pictures of a suspect and of its neighbours; empty where none were kept."""
    pictures = more.get("suspect_pictures")
    if pictures is None or at >= len(pictures):
        return "", ""
    small = [
        html.thumbnail(_png(image), name) for image, name in zip(pictures[at], ["image", *[""] * 99], strict=False)
    ]
    return small[0], html.Thumbnail("".join(small[1:]))


def _png(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
