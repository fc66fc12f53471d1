"""Makes names fit into pictures: in any script that an installed font has, of any length, without warnings."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, lru_cache

import matplotlib as mpl
from matplotlib.font_manager import FontProperties, fontManager, get_font
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from dml.reports.style import plain

_CUT = "…"
_OWN = "DejaVu Sans"  # comes with matplotlib
_FURTHER = (  # outline fonts that systems bring for scripts it lacks; those that are there are used
    *(f"Noto Sans {script}" for script in ("CJK SC", "CJK JP", "CJK TC", "CJK KR", "SC", "JP", "TC", "KR")),
    *("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "Source Han Sans SC", "Source Han Sans"),
    *("PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "Yu Gothic", "Malgun Gothic"),
    *(f"Noto Sans {script}" for script in ("Arabic", "Hebrew", "Devanagari", "Bengali", "Tamil", "Thai", "Ethiopic")),
    *("Segoe UI", "Nirmala UI", "Arial Unicode MS", "Noto Sans Symbols2", "Noto Emoji", "Segoe UI Symbol", "Symbola"),
)


@cache
def _families() -> dict[str, frozenset[int]]:
    """Return the characters of each font that pictures may use, by its name; matplotlib's own comes first."""
    installed = {font.name for font in fontManager.ttflist}
    found = {}
    for name in (_OWN, *_FURTHER):
        if name in installed:
            with suppress(OSError, RuntimeError, ValueError):  # a file that was removed, or of a format of its own
                path = fontManager.findfont(FontProperties(family=[name]), fallback_to_default=False)
                found[name] = frozenset(get_font(path).get_charmap())
    return found


@contextmanager
def lettering() -> Iterator[None]:
    """Give all texts made within this context the installed fonts for all scripts.

    Example:
        >>> with lettering():
        ...     mpl.rcParams["font.family"][0]
        'DejaVu Sans'
    """
    with mpl.rc_context({"font.family": list(_families())}):
        yield


def drawable(name: str) -> str:
    r"""Return a name as the installed fonts can draw it: symbols they lack are named, other characters escaped.

    Example:
        >>> drawable("rose \U0010fffd")
        'rose \\U0010fffd'
    """
    return "".join(map(_drawable, plain(name)))


def fitted(name: str, points: float, size: float) -> str:
    """Return a drawable name that is no wider than a width: its middle is left out, as beginnings and ends differ.

    Args:
        name: Anything.
        points: The width, in 1/72 inch.
        size: Of the letters, in points.

    Example:
        >>> fitted("a rose", 100, 8), fitted("a rose by any other name", 60, 8)
        ('a rose', 'a rose… name')
    """
    letters = [_drawable(character) for character in plain(name)]
    shown = "".join(letters)
    if width_of(shown, size) <= points:
        return shown
    shortened = _shortened(letters, points, size)  # escapes are left out whole, if that leaves anything
    return shortened if shortened != _CUT else _shortened(list(shown), points, size)


@lru_cache(maxsize=4096)
def width_of(text: str, size: float) -> float:
    """Return how wide a drawable text is in points.

    Args:
        text: One line.
        size: Of the letters, in points.

    Example:
        >>> width_of("mm", 8) > width_of("ll", 8)
        True
    """
    width, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(family=list(_families()), size=size), ismath=False
    )
    return float(width)


def without_formulas(texts: Iterable[Text]) -> None:
    """Show texts literally: a class may be named $5_$10, which is not a formula.

    Args:
        texts: Of a figure.
    """
    for text in texts:
        text.set_parse_math(False)


def _shortened(letters: Sequence[str], points: float, size: float) -> str:
    """Return as much of both ends as has room, about as wide on either side."""
    room = points - width_of(_CUT, size)
    head, tail, used = 0, 0, {True: 0.0, False: 0.0}  # letters taken and their widths, of the head and of the tail
    while head + tail < len(letters):
        widths = {True: width_of(letters[head], size), False: width_of(letters[-1 - tail], size)}
        sides = [side for side in (True, False) if sum(used.values()) + widths[side] <= room]
        if not sides:
            break
        side = min(sides, key=lambda side: used[side] + widths[side])
        used[side] += widths[side]
        head, tail = head + side, tail + (not side)
    return "".join([*letters[:head], _CUT, *letters[len(letters) - tail :]])


@cache
def _drawable(character: str) -> str:
    if any(ord(character) in known for known in _families().values()):
        return character
    if unicodedata.category(character) == "So" and (name := unicodedata.name(character, "")):
        return f"[{name.lower()}]"
    return character.encode("unicode_escape").decode()
