"""Types for numeric options: argparse reports a value out of range, in one line. No torch here."""

import argparse
import math
import re
from collections.abc import Callable


def whole(least: int = 0) -> Callable[[str], int]:
    """Return an option type: whole numbers of at least `least`.

    Example:
        >>> whole(least=1)("3")
        3
    """

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) >= least):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return parse


def wholes(least: int = 0, example: str = "0,1,2") -> Callable[[str], tuple[int, ...]]:
    """Return an option type: different whole numbers of at least `least`, separated by commas.

    Example:
        >>> wholes(least=1)("1, 5,10")
        (1, 5, 10)
    """

    def parse(text: str) -> tuple[int, ...]:
        try:
            numbers = tuple(whole(least)(word.strip()) for word in text.split(","))
        except argparse.ArgumentTypeError:
            numbers = ()
        if not numbers or len(set(numbers)) < len(numbers):
            told = f"{text!r} is not a list of whole numbers like {example}: each once, and at least {least}"
            raise argparse.ArgumentTypeError(told)
        return numbers

    return parse


def real(above: float = -math.inf, below: float = math.inf) -> Callable[[str], float]:
    """Return an option type: finite numbers strictly between two bounds.

    Example:
        >>> real(above=0, below=1)("0.95")
        0.95
    """

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not above < number < below:
            bounds = " and ".join(
                f"{how} {bound:g}" for how, bound in (("above", above), ("below", below)) if math.isfinite(bound)
            )
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {bounds}".rstrip())
        return number

    return parse


def memory(text: str) -> str:
    """Return an amount of memory unchanged, if it is valid.

    Example:
        >>> memory("2GiB")
        '2GiB'
    """
    if not re.fullmatch(r"(?=.*[1-9])\d+(\.\d+)?\s*([KMGT]i?)?B?", text, re.IGNORECASE):
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of memory like 2GiB or 500MB")
    return text
