"""Images in rows: originals above their reconstructions, and paths from one image to another."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Images = NDArray[np.floating]
_CELL, _GAP = 0.55, 0.05  # inches


def reconstruction_strip(originals: Images, reconstructions: Mapping[str, Images], title: str = "") -> Figure:
    """Draw images in a row and below them their reconstructions, one row per model.

    Args:
        originals: (N,C,H,W), C 1 or 3, values in 0..1 (what lies outside is drawn as the nearer end).
        reconstructions: By name, the same shape each.
        title: Above it all.

    Example:
        >>> images = np.zeros((3, 1, 8, 8))
        >>> reconstruction_strip(images, {"d = 10": images}).axes[1].get_ylabel()
        'd = 10'
    """
    return _rows({"original": originals, **reconstructions}, title)


def interpolation_strip(paths: Mapping[str, Images], title: str = "", steps_label: str = "share of the way") -> Figure:
    """Draw paths from one image to another, one row per path; the axis below shows how far along the way an image is.

    Args:
        paths: By name: (steps,C,H,W), steps ≥ 2, values as in `reconstruction_strip`; the same number of steps each.
        title: Above it all.
        steps_label: What the axis below counts.

    Example:
        >>> figure = interpolation_strip({"linear": np.zeros((5, 1, 8, 8))})
        >>> [text.get_text() for text in figure.axes[0].get_xticklabels()]
        ['0', '0.25', '0.5', '0.75', '1']
    """
    figure = _rows(paths, title, below=0.5)
    last, (_, images) = figure.axes[-1], list(paths.items())[-1]
    steps, width = len(images), images.shape[-1]
    last.set_xticks((np.arange(steps) + 0.5) * (width + 1) - 1, [f"{i / (steps - 1):.2g}" for i in range(steps)])
    last.tick_params(axis="x", length=0, labelsize=8)
    last.set_xlabel(steps_label, fontsize=9)
    return figure


def _rows(rows: Mapping[str, Images], title: str, below: float = 0.1) -> Figure:
    """Place everything by the inch: automatic layouts cut off the names of rows that keep their aspect."""
    strips = {name: _side_by_side(images) for name, images in rows.items()}
    columns = max(len(images) for images in rows.values())
    cell_height = _CELL * max(images.shape[-2] / images.shape[-1] for images in rows.values())
    above, left = (0.4 if title else 0.1), 0.3 + 0.075 * max(map(len, rows))
    width, height = left + _CELL * columns + 0.1, above + below + (cell_height + _GAP) * len(rows)
    figure = Figure(figsize=(width, height))
    for number, (name, strip) in enumerate(strips.items()):
        bottom = height - above - (cell_height + _GAP) * (number + 1)
        box = (left / width, bottom / height, _CELL * columns / width, cell_height / height)
        axes = figure.add_axes(box)
        axes.imshow(strip, cmap="gray" if strip.ndim == 2 else None, vmin=0, vmax=1, interpolation="nearest")
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=10, y=1 - 0.1 / height, va="top")
    return figure


def _side_by_side(images: Images) -> Images:
    """Return images (N,C,H,W) as one image (H, N·(W+1)) or (H, N·(W+1), 3), with a white line between each two."""
    padded = np.pad(np.clip(images, 0, 1), ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=1.0)
    strip = np.concatenate(list(padded), axis=2)[:, :, :-1]  # (C, H, N·(W+1) − 1)
    together: Images = strip[0] if len(strip) == 1 else strip.transpose(1, 2, 0)
    return together
