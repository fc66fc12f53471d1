"""Gradients by central differences, to check derived ones."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def numerical_gradient(
    function: Callable[[Floats], float], at: ArrayLike, step: float = 1e-5, places: Sequence[int] | None = None
) -> Floats:
    """Return central differences (f(x + h) − f(x − h)) / 2h, whose error is O(h²) beside rounding, about 1e-16·|f|/h.

    Args:
        function: f, of an array of the shape of x.
        at: x, any shape, in float64.
        step: h > 0.
        places: Entries of x, counted row after row, whose derivatives are wanted; None takes all.

    Returns:
        An array of the shape of x, or (len(places),).

    Example:
        >>> numerical_gradient(lambda x: float(x[0] ** 2 + 3 * x[1]), [2.0, 5.0]).round(6)
        array([4., 3.])
    """
    x = np.array(at, dtype=np.float64)
    flat = x.reshape(-1)  # a view: what it holds is what f gets
    wanted = range(x.size) if places is None else places
    slopes = np.empty(len(wanted))
    for i, place in enumerate(wanted):
        kept = flat[place]
        flat[place] = kept + step
        above = function(x)
        flat[place] = kept - step
        slopes[i] = (above - function(x)) / (2 * step)
        flat[place] = kept
    return slopes.reshape(x.shape) if places is None else slopes


def relative_error(one: ArrayLike, other: ArrayLike) -> float:
    """Return the largest |a − b| / (|a| + |b|) of two arrays, entry by entry, in 0..1; two zeros differ by 0.

    Example:
        >>> relative_error([1.0, 0.0], [3.0, 0.0])
        0.5
    """
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    sizes = np.abs(a) + np.abs(b)
    return float(np.max(np.abs(a - b) / np.where(sizes > 0, sizes, 1.0)))
