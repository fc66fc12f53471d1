"""Softmax regression from first principles: the loss, its gradient, the chain of derivatives behind it, and descent.

Logits are g_j = θ_{j,0} + Σ_d θ_{j,d} x_d; rows x carry a column of ones first (`add_bias`), so θ is (C,D+1). What is
trained for use is `ClassifierModule(FlattenEncoder(), LinearHead(C))`; this is what it computes.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dml.errors import UserError

Floats = NDArray[np.float64]
Reduction = Literal["mean", "sum"]


def stable_softmax(logits: ArrayLike) -> Floats:
    """Return p_c = e^{g_c} / Σ_j e^{g_j} over the last axis, with the largest logit subtracted first.

    The subtraction cancels out of the quotient; without it e^{g} overflows from g = 710 on (float64).

    Args:
        logits: (…,C), finite.

    Example:
        >>> stable_softmax([[1e4, 1e4, -1e4]])
        array([[0.5, 0.5, 0. ]])
    """
    table = np.asarray(logits)
    exponentials = np.exp(table - table.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def softmax_loss(
    theta: ArrayLike, x: ArrayLike, y: ArrayLike, reduction: Reduction = "mean"
) -> tuple[float, NDArray[np.floating]]:
    """Return the cross entropy −Σ_n ln p_{y_n}(x_n), or its mean, and its gradient (p − onehot(y))ᵀ X.

    The sum is the negative log-likelihood of the classes. The gradient's column 0 belongs to the biases, the others to
    the weights: ∂/∂b_i = Σ_n (p_i(x_n) − [y_n = i]), ∂/∂w_i = Σ_n (p_i(x_n) − [y_n = i]) x_n.

    Args:
        theta: (C,D+1).
        x: Rows with their bias column (N,D+1).
        y: Classes (N,), from 0 to C − 1.
        reduction: `mean` over the rows, or `sum`; the sum's gradient is N times as long, and so is a step along it.

    Returns:
        The loss, and the gradient (C,D+1) in the precision of x and θ.

    Raises:
        UserError: Shapes that do not fit, a class out of range, another reduction.

    Example:
        >>> loss, gradient = softmax_loss(np.zeros((2, 2)), [[1.0, 3.0]], [1])
        >>> round(loss, 4), gradient.tolist()
        (0.6931, [[0.5, 1.5], [-0.5, -1.5]])
    """
    parameters, rows, classes = _checked(theta, x, y)
    if reduction not in ("mean", "sum"):
        raise UserError(f"unknown reduction {reduction!r}: choose mean or sum")
    every = np.arange(len(rows))
    logits = rows @ parameters.T  # (N, C)
    logits -= logits.max(axis=1, keepdims=True)
    surplus = np.exp(logits)
    totals = surplus.sum(axis=1)
    losses = np.log(totals) - logits[every, classes]
    surplus /= totals[:, None]
    surplus[every, classes] -= 1  # p − onehot
    share = 1 / len(rows) if reduction == "mean" else 1.0
    return float(losses.sum(dtype=np.float64)) * share, surplus.T @ rows * share


def softmax_accuracy(theta: ArrayLike, x: ArrayLike, y: ArrayLike) -> float:
    """Return the share of rows whose largest logit is that of their class; equal logits go to the lowest class.

    Args:
        theta: (C,D+1).
        x: Rows with their bias column (N,D+1).
        y: Classes (N,).

    Raises:
        UserError: Shapes that do not fit, or a class out of range.

    Example:
        >>> softmax_accuracy([[0.0, 1.0], [0.0, -1.0]], [[1.0, 2.0], [1.0, 3.0]], [0, 1])
        0.5
    """
    parameters, rows, classes = _checked(theta, x, y)
    return float(np.mean((rows @ parameters.T).argmax(axis=1) == classes))


def softmax_descent(
    theta: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    rate: float,
    steps: int,
    reduction: Reduction = "mean",
    batch_size: int | None = None,
    seed: int = 0,
) -> Iterator[tuple[float, NDArray[np.floating]]]:
    """Yield, for each step θ ← θ − rate · ∇L, the loss L before it and θ after it.

    Args:
        theta: Where it starts (C,D+1).
        x: Rows with their bias column (N,D+1).
        y: Classes (N,).
        rate: Learning rate, > 0.
        steps: Number of steps.
        reduction: Of the loss over the batch.
        batch_size: Rows of each step, drawn with replacement; None takes all of them every time.
        seed: Of the batches.

    Raises:
        UserError: As `softmax_loss`, when the first step is asked for.

    Example:
        >>> losses = [loss for loss, _ in softmax_descent(np.zeros((2, 2)), [[1.0, 3.0]], [1], rate=0.1, steps=3)]
        >>> np.round(losses, 3).tolist()
        [0.693, 0.313, 0.195]
    """
    parameters, rows, classes = _checked(theta, x, y)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        batch = slice(None) if batch_size is None else rng.integers(0, len(rows), batch_size)
        loss, gradient = softmax_loss(parameters, rows[batch], classes[batch], reduction)
        parameters = parameters - rate * gradient
        yield loss, parameters


def _checked(
    theta: ArrayLike, x: ArrayLike, y: ArrayLike
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.int64]]:
    parameters, rows, classes = _floating(theta), _floating(x), np.asarray(y)
    if rows.ndim != 2 or parameters.ndim != 2 or parameters.shape[1] != rows.shape[1]:
        raise UserError(f"theta {parameters.shape} and x {rows.shape} do not fit: give (C,D+1) and (N,D+1)")
    if classes.shape != (len(rows),) or not len(rows):
        raise UserError(f"{len(rows)} rows but classes of shape {classes.shape}: give one class per row, at least one")
    if classes.min() < 0 or classes.max() >= len(parameters):
        raise UserError(
            f"classes from {classes.min()} to {classes.max()}: theta has rows for 0 to {len(parameters) - 1}"
        )
    return parameters, rows, classes


def _floating(values: ArrayLike) -> NDArray[np.floating]:
    array = np.asarray(values)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)
