"""The errors that are told in one clear line, without a traceback; each has its exit code at the front door."""

import math
import unicodedata
from collections.abc import Iterable
from typing import ClassVar

_ACTING = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format (among them the bidi overrides), surrogates, line ends
_JOINERS = "\u200c\u200d"  # format characters that scripts and emoji are written with

MOST_UNITS = 2**20  # of one layer


class UserError(ValueError):
    """A mistake outside the code: a missing folder, a wrong key, a class with one image.

    The message is one line that names the thing and the mend. It is a `ValueError`, so code that uses the library
    (and scikit-learn's estimator checks) can catch it as one; the front door prints the line and exits with code 2.

    Example:
        >>> raise UserError("no folder 'photos': give an existing one")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no folder 'photos': give an existing one
    """

    exit_code: ClassVar[int] = 2


class LostProcessError(UserError):
    """One of the processes that train together died; the run can be gone on with.

    Example:
        >>> LostProcessError.exit_code
        5
    """

    exit_code = 5


class LostTrainingError(UserError):
    """A training that learns nothing any more: it diverged, or its embedding collapsed.

    Example:
        >>> LostTrainingError.exit_code
        4
    """

    exit_code = 4


def printable(text: str, lines: bool = False) -> str:
    r"""Return text that shows on a terminal or a page and cannot act there: other characters become escapes.

    Args:
        text: Anything, such as a file's name: it may hold control characters, overrides of the direction of writing,
            or bytes that are not UTF-8.
        lines: Whether line ends and tabs are kept.

    Example:
        >>> print(printable("a\x1b[2J\u202eb\udcff\n"))
        a\x1b[2J\u202eb\udcff\n
    """
    if text.isprintable():
        return text
    kept = _JOINERS + "\n\t" if lines else _JOINERS
    acts = {c for c in set(text) if unicodedata.category(c) in _ACTING and c not in kept}
    return text.translate({ord(c): c.encode("unicode_escape").decode() for c in acts})


def reason_of(error: BaseException) -> str:
    """Return why something failed in a few words: the error's first line, or its kind where it says nothing.

    Example:
        >>> reason_of(KeyError()), reason_of(OSError(2, "No such file or directory", "x.png"))
        ('KeyError', 'No such file or directory')
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError) and error.args:
        return f"there is no {error}"
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def check_number(
    name: str,
    value: float,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> None:
    """Refuse a number that is NaN, infinite or out of range.

    Args:
        name: What it is the value of.
        value: As given.
        least: The smallest that is taken.
        most: The largest that is taken.
        above: What it must exceed.
        below: What it must stay under.

    Raises:
        UserError: It is none of these.

    Example:
        >>> check_number("dropout", -0.1, least=0, below=1)
        Traceback (most recent call last):
        ...
        dml.errors.UserError: dropout=-0.1: give a number of at least 0 and below 1
    """
    within = math.isfinite(value)
    within &= (least is None or value >= least) and (most is None or value <= most)
    within &= (above is None or value > above) and (below is None or value < below)
    if not within:
        bounds = {"of at least": least, "above": above, "of at most": most, "below": below}
        told = " and ".join(f"{how} {bound:,}" for how, bound in bounds.items() if bound is not None)
        told = f"a number {told}" if told else "a finite number"
        if least is not None and most is not None:
            told = f"a number within {least:,}..{most:,}"
        raise UserError(f"{name}={value}: give {told}")


def check_widths(name: str, widths: Iterable[int], empty: bool = True) -> None:
    """Refuse layers without units, or with more than a machine has memory for.

    Args:
        name: What they are the widths of.
        widths: Of each layer.
        empty: Whether there may be none.

    Raises:
        UserError: One is below 1 or above 2²⁰, or there are none and there should be.

    Example:
        >>> check_widths("channels", [8, 0])
        Traceback (most recent call last):
        ...
        dml.errors.UserError: channels=[8, 0]: every width is at least 1 and at most 1,048,576
    """
    widths = list(widths)
    if not (widths or empty):
        raise UserError(f"{name}=[]: give at least one width")
    if any(not 1 <= width <= MOST_UNITS for width in widths):
        raise UserError(f"{name}={widths}: every width is at least 1 and at most {MOST_UNITS:,}")
