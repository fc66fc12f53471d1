"""The hinge loss of a binary linear support vector machine with its gradient."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dml.errors import UserError

Floats = NDArray[np.float64]


def hinge_loss(w: ArrayLike, b: float, x: ArrayLike, y: ArrayLike) -> tuple[float, Floats, float]:
    """Return (1/K) Σ max(0, 1 − y(w·x + b)) over K rows with its gradients in w and in b.

    ∇_w = −(1/K) Σ [y(w·x + b) < 1] y x and ∂/∂b = −(1/K) Σ [y(w·x + b) < 1] y. At y(w·x + b) = 1 the loss has a kink,
    where every slope between the two sides' is a subgradient; 0 is taken.

    Args:
        w: Weights (D,).
        b: Bias.
        x: Rows (K,D).
        y: Signs (K,), −1 or 1.

    Returns:
        The loss, its gradient in w (D,), its derivative in b.

    Raises:
        UserError: The shapes do not fit, or y holds other numbers.

    Example:
        >>> hinge_loss([1.0], 0.0, [[0.5], [-3.0]], [1, -1])
        (0.25, array([-0.25]), -0.5)
    """
    weights, rows, signs = (np.asarray(values, dtype=np.float64) for values in (w, x, y))
    if rows.ndim != 2 or weights.shape != rows.shape[1:] or signs.shape != rows.shape[:1] or not len(rows):
        raise UserError(f"w {weights.shape}, x {rows.shape}, y {signs.shape} do not fit: give (D,), (K,D) and (K,)")
    if not np.isin(signs, (-1, 1)).all():
        raise UserError("y holds numbers other than −1 and 1: give the sign of each row's class")
    lacking = 1 - signs * (rows @ weights + b)
    pulls = np.where(lacking > 0, -signs, 0.0) / len(rows)
    return float(lacking.clip(min=0).mean()), pulls @ rows, float(pulls.sum())
