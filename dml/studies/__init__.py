"""The course work's own mathematics, with its figures: angles, codes, densities, cross-validation."""

from dml.studies.angles import angular_loss, circular_mean, circular_variance, wrapped_difference
from dml.studies.codes import (
    CorrelationSummary,
    correlation_matrix,
    correlation_summary,
    interpolate_linear,
    interpolate_spherical,
)
from dml.studies.cross_validation import CrossValidation, cross_validate
from dml.studies.density import KNNBayes, KNNDensity, log_ball_volume

__all__ = [
    "CorrelationSummary",
    "CrossValidation",
    "KNNBayes",
    "KNNDensity",
    "angular_loss",
    "circular_mean",
    "circular_variance",
    "correlation_matrix",
    "correlation_summary",
    "cross_validate",
    "interpolate_linear",
    "interpolate_spherical",
    "log_ball_volume",
    "wrapped_difference",
]
