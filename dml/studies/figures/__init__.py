"""The figures of the studies: image sheets, correlations, errors on folds, points, regions and lines in the plane."""

from dml.studies.figures.correlation import correlation_maps
from dml.studies.figures.cross_validation import error_against_k, error_bars
from dml.studies.figures.outlier import LinearStudy, linear_boundaries
from dml.studies.figures.plane import PlaneGrid, decision_boundaries, density_maps, labelled_points, plane_grid
from dml.studies.figures.sheet import image_sheet

__all__ = [
    "LinearStudy",
    "PlaneGrid",
    "correlation_maps",
    "decision_boundaries",
    "density_maps",
    "error_against_k",
    "error_bars",
    "image_sheet",
    "labelled_points",
    "linear_boundaries",
    "plane_grid",
]
