"""Formulas written out as loops over their entries: slow, and the reference for the vectorised ones."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def distances_by_loops(query: ArrayLike, reference: ArrayLike) -> Floats:
    """Return the Euclidean distances (Q,R) of all queries (Q,D) and references (R,D), pair by pair.

    `dml.functional.distances.squared_distances` is the same by one matrix product, squared.

    Example:
        >>> distances_by_loops([[0.0, 0.0]], [[3.0, 4.0], [0.0, 1.0]])
        array([[5., 1.]])
    """
    queries, references = np.asarray(query, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    distances = np.empty((len(queries), len(references)))
    for i, one in enumerate(queries):
        for j, other in enumerate(references):
            distances[i, j] = math.sqrt(((one - other) ** 2).sum())
    return distances


def softmax_loss_by_loops(theta: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[float, Floats]:
    """Return the mean cross entropy and its gradient (C,D+1), row by row and class by class; see `softmax_loss`.

    Args:
        theta: (C,D+1).
        x: Rows with their bias column (N,D+1).
        y: Classes (N,).

    Example:
        >>> loss, gradient = softmax_loss_by_loops([[0.0, 0.0], [0.0, 0.0]], [[1.0, 3.0]], [1])
        >>> round(loss, 4), gradient.tolist()
        (0.6931, [[0.5, 1.5], [-0.5, -1.5]])
    """
    parameters, rows = np.asarray(theta, dtype=np.float64), np.asarray(x, dtype=np.float64)
    loss, gradient = 0.0, np.zeros_like(parameters)
    for row, label in zip(rows, np.asarray(y), strict=True):
        logits = [float(weights @ row) for weights in parameters]
        largest = max(logits)
        total = sum(math.exp(logit - largest) for logit in logits)
        loss += math.log(total) - (logits[label] - largest)
        for c, logit in enumerate(logits):
            gradient[c] += (math.exp(logit - largest) / total - (c == label)) * row
    return loss / len(rows), gradient / len(rows)
