"""The look all pictures share: colours the colour-blind can tell apart, markers for print, conversion to PNG."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from dml.errors import printable

# Okabe and Ito's palette (2008), without yellow, which is too pale on white paper.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", "p", ">", "d")  # no two that share a colour are alike
RIGHT, WRONG = COLOURS[2], COLOURS[3]


def class_style(label: int) -> tuple[str, str]:
    """Return the colour and the marker of a class; of 12 classes each has its own marker, of 84 its own pair.

    Example:
        >>> class_style(0), class_style(7)
        (('#0072B2', 'o'), ('#0072B2', '*'))
    """
    return COLOURS[label % len(COLOURS)], MARKERS[label % len(MARKERS)]


def plain(name: str) -> str:
    r"""Return a harmless name: bytes that are not UTF-8 become question marks, control characters escapes.

    In a picture a font must have its characters, too: see `dml.reports.lettering.drawable`.

    Example:
        >>> plain("caf\udce9\x1b")
        'caf?\\x1b'
    """
    return printable(name.encode("utf-8", "replace").decode())


_DOTS = 120  # per inch


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """Return a figure as pixels (H,W,3), drawn once: the same as `savefig` writes, which lays out and draws twice.

    Example:
        >>> pixels(Figure(figsize=(1, 2))).shape
        (240, 120, 3)
    """
    before = figure.dpi
    figure.set_dpi(_DOTS)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    figure.set_dpi(before)
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def png(drawn: Figure | NDArray[np.uint8]) -> bytes:
    """Return a figure, or the pixels of one, as the bytes of a PNG file.

    Example:
        >>> png(Figure())[1:4]
        b'PNG'
    """
    buffer = io.BytesIO()
    image = Image.fromarray(pixels(drawn) if isinstance(drawn, Figure) else drawn)
    image.save(buffer, "PNG", dpi=(_DOTS, _DOTS))
    return buffer.getvalue()
