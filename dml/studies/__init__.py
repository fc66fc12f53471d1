"""The coursework's own mathematics, with its figures: angles, calculus, codes, densities, linear models."""

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
from dml.studies.chain_rule import logits_by_parameters, loss_by_probabilities, probabilities_by_logits
from dml.studies.codes import (
    CorrelationSummary,
    correlation_matrix,
    correlation_summary,
    interpolate_linear,
    interpolate_spherical,
)
from dml.studies.cross_validation import CrossValidation, cross_validate
from dml.studies.density import KNNBayes, KNNDensity, log_ball_volume
from dml.studies.gradients import numerical_gradient, relative_error
from dml.studies.hinge import hinge_loss
from dml.studies.least_squares import add_bias, expected_noisy_loss, least_squares, squared_loss
from dml.studies.loops import distances_by_loops, softmax_loss_by_loops
from dml.studies.softmax import softmax_accuracy, softmax_descent, softmax_loss, stable_softmax

__all__ = [
    "CorrelationSummary",
    "CrossValidation",
    "Descent",
    "KNNBayes",
    "KNNDensity",
    "add_bias",
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
    "distances_by_loops",
    "expected_noisy_loss",
    "gradient_descent",
    "hinge_loss",
    "interpolate_linear",
    "interpolate_spherical",
    "least_squares",
    "log_ball_volume",
    "logits_by_parameters",
    "loss_by_probabilities",
    "numerical_gradient",
    "probabilities_by_logits",
    "relative_error",
    "softmax_accuracy",
    "softmax_descent",
    "softmax_loss",
    "softmax_loss_by_loops",
    "squared_loss",
    "stable_softmax",
    "stationary_point",
    "wrapped_difference",
]
