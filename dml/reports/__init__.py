"""Pictures: functions from results to matplotlib figures; they know nothing of models or training."""

from dml.reports.crossvalidation import error_against_k, error_bars
from dml.reports.gallery import retrieval_gallery
from dml.reports.plane import PlaneGrid, decision_boundaries, density_maps, plane_grid
from dml.reports.projection import embedding_map
from dml.reports.style import png
from dml.reports.weights import weight_histogram

__all__ = [
    "PlaneGrid",
    "decision_boundaries",
    "density_maps",
    "embedding_map",
    "error_against_k",
    "error_bars",
    "plane_grid",
    "png",
    "retrieval_gallery",
    "weight_histogram",
]
