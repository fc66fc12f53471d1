"""The look all pictures share: colours the colour-blind can tell apart, markers for print, and the way to PNG bytes."""

import io

from matplotlib.figure import Figure

from dml.errors import printable

# Okabe and Ito's palette (2008), without yellow, which is too pale on white paper.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
RIGHT, WRONG = COLOURS[2], COLOURS[3]


def class_style(label: int) -> tuple[str, str]:
    """Return the colour and the marker of a class; 49 classes differ, then they repeat.

    Example:
        >>> class_style(0), class_style(7)
        (('#0072B2', 'o'), ('#0072B2', 's'))
    """
    colour, marker = label % len(COLOURS), (label // len(COLOURS)) % len(MARKERS)
    return COLOURS[colour], MARKERS[marker]


def plain(name: str) -> str:
    r"""Return a name as a font can draw it: bytes that are not UTF-8 become question marks, control characters escapes.

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
