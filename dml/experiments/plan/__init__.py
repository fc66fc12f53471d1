"""What a training will take, before it is started: an estimate, a rehearsal of some steps, and what they come to."""

from dml.experiments.plan.clock import Clock
from dml.experiments.plan.estimate import (
    Estimate,
    available_memory,
    check_fits,
    estimate,
    forward_seconds,
    network_of,
    peak_memory,
    triplets,
)
from dml.experiments.plan.forecast import Forecast, Schedule
from dml.experiments.plan.units import mib, seconds

__all__ = [
    "Clock",
    "Estimate",
    "Forecast",
    "Schedule",
    "available_memory",
    "check_fits",
    "estimate",
    "forward_seconds",
    "mib",
    "network_of",
    "peak_memory",
    "seconds",
    "triplets",
]
