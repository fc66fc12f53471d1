"""The course work's own mathematics, with its figures: angles, calculus, codes, densities, cross-validation."""

from dml.studies.angles import angular_loss, circular_mean, circular_variance, wrapped_difference
from dml.studies.calculus import (
    Descent,
    compose_affine,
    derivative_of_arguments,
    derivative_of_chain,
    derivative_of_nest,
    derivative_of_sums,
    gradient_descent,
    stationary_point,
)
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
    "Descent",
    "KNNBayes",
    "KNNDensity",
    "angular_loss",
    "circular_mean",
    "circular_variance",
    "compose_affine",
    "correlation_matrix",
    "correlation_summary",
    "cross_validate",
    "derivative_of_arguments",
    "derivative_of_chain",
    "derivative_of_nest",
    "derivative_of_sums",
    "gradient_descent",
    "interpolate_linear",
    "interpolate_spherical",
    "log_ball_volume",
    "stationary_point",
    "wrapped_difference",
]
