"""The space of a sweep: reads `KEY=VALUES` into values to try or ranges to draw from."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import yaml

from dml.errors import UserError

Value = str | int | float | bool | None
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@final
@dataclass(frozen=True)
class Dimension:
    """One swept key: either the values it takes, or the range it is drawn from.

    Args:
        key: The recipe's key, e.g. `model.loss.margin`.
        choices: Its values as they are handed to the recipe; empty for a range.
        low: The range's lower end.
        high: The range's upper end, included.
        log: Whether values are spread evenly over the logarithm.
        whole: Whether the range's values are whole numbers.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False


def read_space(over: Sequence[str], ranges: bool) -> list[Dimension]:
    """Read the swept keys of a command line.

    `KEY=a:b:n` is n values from a to b, `KEY=a:b:n:log` the same evenly over the logarithm, `KEY=v1,v2,v3` these values
    (a comma within brackets belongs to its value), and, where they are drawn, `KEY=a:b` and `KEY=a:b:log` a range;
    a further `:int` takes whole numbers only.

    Args:
        over: `KEY=VALUES`, one per key.
        ranges: Whether values are drawn (random, bayes), so that a range needs no count.

    Raises:
        UserError: A key is missing or given twice, a range is empty, a value is given twice.

    Example:
        >>> read_space(["model.loss.margin=0.1:0.5:3"], ranges=False)[0].choices
        ('0.1', '0.3', '0.5')
    """
    if not over:
        raise UserError("nothing to sweep: give at least one KEY=VALUES, e.g. model.loss.margin=0.1:2.0:15")
    space = [_dimension(text, ranges) for text in over]
    keys = [dimension.key for dimension in space]
    for key in keys:
        if keys.count(key) > 1:
            raise UserError(f"{key} is given twice: put all its values into one")
        if key == "seed_everything":
            raise UserError("seed_everything is not a swept key: give the seeds as `seeds`")
    return space


def value_of(text: str) -> Value:
    """Return a value as YAML reads it, for tables and axes; what is not a scalar stays text.

    Example:
        >>> value_of("0.5"), value_of("tsne"), value_of("[8,16]"), value_of("1e-3")
        (0.5, 'tsne', '[8,16]', 0.001)
    """
    if _NUMBER.fullmatch(text):  # YAML 1.1 takes 1e-3 for a word
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, str | int | float | bool) or value is None else text


def number_text(value: float, whole: bool) -> str:
    """Return a number as short as it is meant: 0.30000000000000004 is 0.3.

    Example:
        >>> number_text(0.1 + 0.2, whole=False), number_text(7.0, whole=True)
        ('0.3', '7')
    """
    return str(round(value)) if whole else f"{value:.10g}"


def _dimension(text: str, ranges: bool) -> Dimension:
    key, equals, values = text.partition("=")
    key = key.strip().removeprefix("--")
    if not (key and equals and values.strip()):
        raise UserError(f"{text!r}: give KEY=VALUES, e.g. model.loss.margin=0.1:2.0:15 or data.batch_size=50,100")
    first = values.partition(":")[0].strip()
    if ":" in values and "," not in values and _NUMBER.fullmatch(first):
        return _range(key, values, ranges)
    choices = _split(values)
    if "" in choices:
        raise UserError(f"{text!r}: a value is empty; write null for none")
    return _no_twins(Dimension(key, choices))


def _range(key: str, values: str, ranges: bool) -> Dimension:
    parts = [part.strip() for part in values.split(":")]
    flags = {part for part in parts if part in {"log", "int"}}
    numbers = parts[: len(parts) - len(flags)]
    if len(numbers) not in {2, 3} or not all(map(_NUMBER.fullmatch, numbers)):
        raise UserError(f"{key}={values}: give a:b:n or a:b:n:log in numbers, e.g. 0.1:2.0:15")
    log, whole = "log" in flags, "int" in flags
    low, high = float(numbers[0]), float(numbers[1])
    if log and min(low, high) <= 0:
        raise UserError(f"{key}={values}: a logarithmic range must be above 0")
    if not low < high:
        raise UserError(f"{key}={values}: the range is empty: its upper end must be above its lower end")
    if whole and not (low.is_integer() and high.is_integer()):
        raise UserError(f"{key}={values}: the ends of a range of whole numbers must be whole")
    if len(numbers) == 3:
        if not numbers[2].isdigit() or int(numbers[2]) < 2:
            raise UserError(f"{key}={values}: the number of values must be a whole number of at least 2")
        return _no_twins(Dimension(key, _points(low, high, int(numbers[2]), log, whole)))
    if not ranges:
        raise UserError(
            f"{key}={values}: give the number of values, as a:b:n; only a random or Bayesian search draws from a range"
        )
    return Dimension(key, (), low, high, log, whole)


def _points(low: float, high: float, count: int, log: bool, whole: bool) -> tuple[str, ...]:
    steps = [step / (count - 1) for step in range(count)]
    points = [low * (high / low) ** step if log else low + (high - low) * step for step in steps]
    points[-1] = high
    # points that are all whole are written so: a key of type int takes them, one of type float as well
    whole = whole or all(math.isclose(point, round(point), rel_tol=1e-9) for point in points)
    return tuple(number_text(point, whole) for point in points)


def _split(values: str) -> tuple[str, ...]:
    """Split at commas outside of brackets."""
    parts, depth = [""], 0
    for letter in values:
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(part.strip() for part in parts)


def _no_twins(dimension: Dimension) -> Dimension:
    for choice in dimension.choices:
        if dimension.choices.count(choice) > 1:
            raise UserError(f"{dimension.key}: the value {choice} is given twice")
    return dimension
