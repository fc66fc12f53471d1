"""Pictures: functions from results to matplotlib figures; they know nothing of models or training."""

from dml.reports.correlation import correlation_maps
from dml.reports.crossvalidation import error_against_k, error_bars
from dml.reports.curves import swept_curves, swept_heatmap, swept_points, training_curves
from dml.reports.evidence import confusion_picture, hubness_histogram, score_intervals
from dml.reports.gallery import retrieval_gallery
from dml.reports.plane import PlaneGrid, decision_boundaries, density_maps, plane_grid
from dml.reports.probe import probe_curves
from dml.reports.projection import embedding_map
from dml.reports.reconstruction import interpolation_strip, reconstruction_strip
from dml.reports.style import png
from dml.reports.weights import weight_histogram

__all__ = [
    "PlaneGrid",
    "confusion_picture",
    "correlation_maps",
    "decision_boundaries",
    "density_maps",
    "embedding_map",
    "error_against_k",
    "error_bars",
    "hubness_histogram",
    "interpolation_strip",
    "plane_grid",
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
