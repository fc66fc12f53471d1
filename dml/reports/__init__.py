"""Figures and pages of results: functions from arrays and scores to matplotlib figures, and from these to HTML."""

from typing import Any

from dml.reports.curves import swept_curves, swept_heatmap, swept_points, training_curves
from dml.reports.evidence import confusion_picture, hubness_histogram, score_intervals
from dml.reports.gallery import retrieval_gallery
from dml.reports.probe import probe_curves
from dml.reports.projection import embedding_map
from dml.reports.reconstruction import interpolation_strip, reconstruction_strip
from dml.reports.style import pixels, plain, png
from dml.reports.weights import weight_histogram

__all__ = [
    "confusion_picture",
    "embedding_map",
    "hubness_histogram",
    "interpolation_strip",
    "pixels",
    "plain",
    "png",
    "probe_curves",
    "reconstruction_strip",
    "retrieval_gallery",
    "score_intervals",
    "swept_curves",
    "swept_heatmap",
    "swept_points",
    "training_curves",
    "weight_histogram",
]

_MOVED = (
    "PlaneGrid",
    "correlation_maps",
    "decision_boundaries",
    "density_maps",
    "error_against_k",
    "error_bars",
    "plane_grid",
)


def __getattr__(name: str) -> Any:
    if name in _MOVED:
        raise ImportError(f"dml.reports.{name} is now dml.studies.figures.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
