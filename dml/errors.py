"""The error a user can mend: one clear line, no traceback, exit code 2 at the front door."""

import math
from collections.abc import Iterable

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
