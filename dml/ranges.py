"""Refuses numbers outside their range and words that are no choice, in one line that names them."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from dml.errors import UserError

MOST_UNITS = 2**20  # of one layer


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
        least: The smallest that is accepted.
        most: The largest that is accepted.
        above: What it must exceed.
        below: What it must stay under.

    Raises:
        UserError: It is out of range.

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


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a word that is none of those there are to choose from.

    Raises:
        UserError: It is another.

    Example:
        >>> check_choice("pooling", "avg", ("mean", "max", "none"))
        Traceback (most recent call last):
        ...
        dml.errors.UserError: pooling='avg': choose mean, max or none
    """
    if value not in choices:
        raise UserError(f"{name}={value!r}: choose {', '.join(choices[:-1])} or {choices[-1]}")


def whole_number(name: str, value: Any) -> int:
    """Return a whole number of any type (5, 5.0, NumPy's int64) as an int.

    Args:
        name: What it is the value of.
        value: As given.

    Raises:
        UserError: It is not a number, is a truth value, or is not whole.

    Example:
        >>> whole_number("k", 5.0)
        5
        >>> whole_number("k", 2.5)
        Traceback (most recent call last):
        ...
        dml.errors.UserError: k=2.5: give a whole number
    """
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        whole = None
    if whole is None or whole != value or isinstance(value, bool | str):
        raise UserError(f"{name}={value}: give a whole number")
    return whole


def check_widths(name: str, widths: Iterable[int], empty: bool = True) -> None:
    """Refuse layers without units, or with more than fit in a machine's memory.

    Args:
        name: What they are the widths of.
        widths: Of each layer.
        empty: Whether there may be no layers.

    Raises:
        UserError: One is below 1 or above 2²⁰, or there are none but there should be.

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
