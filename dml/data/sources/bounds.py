"""Limits on reading files from strangers: size, formats, location; and how damage is reported."""

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from dml.errors import UserError, reason_of

MAX_IMAGE_BYTES = 2**29  # what the most pixels that are decoded, 2**27, take without compression
# what Pillow decodes by itself; some of its other formats start programs, or are no pictures of pixels
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA", "ICO")


@contextmanager
def damage_told(what: str, mend: str) -> Iterator[None]:
    """Report in one line that a file is damaged or of another form, whatever error reading it raises.

    Example:
        >>> with damage_told("'list.txt'", "unpack it again"):
        ...     int("x")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: 'list.txt' cannot be read (invalid literal for int() with base 10: 'x'): unpack it again
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # a damaged file fails in many ways
        raise UserError(f"{what} cannot be read ({reason_of(error)}): {mend}") from error


def leads_outside(name: str) -> bool:
    """Tell whether a relative name leads out of the folder it is relative to, on any system.

    Example:
        >>> [leads_outside(name) for name in ("a/b.png", "../b.png", "/b.png", "C:/b.png", "a/..b.png")]
        [False, True, True, True, False]
    """
    parts = name.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:[\\/]", name) is not None


def check_inside(root: Path, names: Sequence[str], what: str, mend: str) -> None:
    """Refuse names that lead out of a folder, also by a link.

    Args:
        root: the folder.
        names: of files, relative to it.
        what: the list that holds them, for the message.
        mend: what to do about it.

    Raises:
        UserError: one does; says how many, and the first.
    """
    top, real = os.path.realpath(root), dict[str, str]()

    def outside(name: str) -> bool:
        if leads_outside(name):
            return True
        path = os.path.join(top, name)  # noqa: PTH118 - many names
        folder = os.path.dirname(path)  # noqa: PTH120
        if folder not in real:
            real[folder] = os.path.realpath(folder)
        if os.path.islink(path):  # noqa: PTH114
            return not f"{os.path.realpath(path)}/".startswith(f"{top}/")
        return not f"{real[folder]}/".startswith(f"{top}/")

    if found := [name for name in names if outside(name)]:
        raise UserError(f"{what}: {len(found)} of {len(names)} files lie outside '{root}', first '{found[0]}': {mend}")


def open_image(content: bytes) -> Image.Image:
    """Open an image by its bytes; its pixels are decoded when asked for.

    Raises:
        OSError: it is of no format in `IMAGE_FORMATS`.
    """
    try:
        return Image.open(io.BytesIO(content), formats=_known_formats(common=True))
    except UnidentifiedImageError:
        return Image.open(io.BytesIO(content), formats=_known_formats(common=False))


@cache
def _known_formats(common: bool) -> tuple[str, ...]:
    """Return the formats that this Pillow knows: the common ones, or all, which takes a tenth of a second."""
    (Image.preinit if common else Image.init)()
    return tuple(name for name in IMAGE_FORMATS if name in Image.OPEN)
