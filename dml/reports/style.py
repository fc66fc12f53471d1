"""The look all pictures share: colours the colour-blind can tell apart, markers for print, conversion to PNG."""

import io

from matplotlib.figure import Figure

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


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file.

    Example:
        >>> png(Figure())[1:4]
        b'PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
