"""Rates with the class as unit: how often something happens at each distance, and bounds for other classes."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm, t

from dml.errors import UserError

Floats = NDArray[np.float64]
_TAIL = 0.05  # where normal and t quantiles are compared


class ClassRates(NamedTuple):
    """Events within each of T distances, and what of them goes where one of C classes is taken away.

    `lost_events[i]` are the events, and `lost[i]` the cases, that are not there without class i: a pair of images goes
    with either of its two classes.
    """

    events: Floats  # (T,)
    cases: float
    lost_events: Floats  # (C,T)
    lost: Floats  # (C,)

    @property
    def rate(self) -> Floats:
        """The events per case, (T,)."""
        return self.events / self.cases

    @property
    def num_classes(self) -> float:
        """The number of equally large classes that say as much as these: (Σn)² / Σn²."""
        return float(self.lost.sum() ** 2 / (self.lost**2).sum())

    def at(self, place: int) -> "ClassRates":
        """Return the rates at one of the distances alone."""
        chosen = slice(place, place + 1)
        return ClassRates(self.events[chosen], self.cases, self.lost_events[:, chosen], self.lost)

    def joined(self, other: "ClassRates") -> "ClassRates":
        """Return the rates of both, whose classes have no case in common.

        Example:
            >>> one = ClassRates(np.array([1.0]), 4.0, np.ones((2, 1)), np.full(2, 4.0))
            >>> one.joined(one).rate, one.joined(one).num_classes
            (array([0.25]), 4.0)
        """
        events = np.concatenate([self.lost_events, other.lost_events])
        lost = np.concatenate([self.lost, other.lost])
        return ClassRates(self.events + other.events, self.cases + other.cases, events, lost)


def rate_bounds(rates: ClassRates, level: float, new_classes: float = math.inf) -> tuple[Floats, Floats]:
    """Return a lower and an upper bound (T,) of the rate; each alone holds with chance `level`.

    Clopper and Pearson's bounds for the number of independent cases that would say as much: n = p(1−p) / v, v the
    jackknife variance over classes, which counts that pairs share their classes, less what C − 1 degrees of freedom
    cost. For the rate that as many as M new classes will show, and not that of all classes there are, n is divided by
    1 + C/M. Without an event the class pairs, or the classes, would have to be counted: see `least_rate`.

    Args:
        rates: Of C ≥ 2 classes.
        level: Confidence of each bound, in (0, 1).
        new_classes: M, the number of classes whose own rate is bounded; infinity: all there are.

    Raises:
        UserError: Fewer than two classes.

    Source: Korn and Graubard, "Confidence Intervals for Proportions with Small Expected Number of Positive Counts
    Estimated from Survey Data" (1998); Arvesen, "Jackknifing U-Statistics" (1969).

    Example:
        >>> tenth = ClassRates(np.array([100.0]), 1000.0, np.full((50, 1), 4.0) + np.eye(50)[:, :1], np.full(50, 40.0))
        >>> low, high = rate_bounds(tenth, 0.95)
        >>> bool(low[0] < 0.1 < high[0])
        True
    """
    count = len(rates.lost)
    if count < 2:
        raise UserError("a bound needs at least two classes")
    rate = rates.rate
    with np.errstate(invalid="ignore"):  # of two classes none is left without one: nothing is known of the variance
        without = (rates.events - rates.lost_events) / (rates.cases - rates.lost)[:, None]
    variance = (count - 1) / count * np.square(without - without.mean(axis=0)).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(variance > 0, rate * (1 - rate) / variance, rates.cases)
        size[np.isnan(variance)] = 0
    freedom = max(1.0, rates.num_classes - 1)
    size = np.minimum(size, rates.cases) * (norm.isf(_TAIL) / t.isf(_TAIL, freedom)) ** 2 / (1 + count / new_classes)
    hits = size * rate
    with np.errstate(invalid="ignore"):
        low = np.where(hits > 0, beta.ppf(1 - level, hits, size - hits + 1), 0.0)
        high = np.where(size - hits > 0, beta.ppf(level, hits + 1, size - hits), 1.0)
    return low, high


def least_rate(units: float, level: float) -> float:
    """Return the upper bound of a rate of which `units` independent cases show no event: 1 − (1 − level)^(1/units).

    Example:
        >>> round(least_rate(3000, 0.95), 4)
        0.001
    """
    return float(1 - (1 - level) ** (1 / units))
