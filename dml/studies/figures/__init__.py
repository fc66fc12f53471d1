"""The figures of the studies: correlation matrices, errors on folds, regions and densities in the plane."""

from dml.studies.figures.correlation import correlation_maps
from dml.studies.figures.cross_validation import error_against_k, error_bars
from dml.studies.figures.plane import PlaneGrid, decision_boundaries, density_maps, plane_grid

__all__ = [
    "PlaneGrid",
    "correlation_maps",
    "decision_boundaries",
    "density_maps",
    "error_against_k",
    "error_bars",
    "plane_grid",
]
