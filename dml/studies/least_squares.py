"""Linear regression and classification by least squares in closed form, and what noise on the inputs does to it."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dml.errors import UserError

Floats = NDArray[np.float64]


def add_bias(x: ArrayLike) -> Floats:
    """Return x (N,D) with a column of ones before it, (N,D+1): the bias trick, after which θ_0 is the bias.

    Example:
        >>> add_bias([[5.0], [7.0]])
        array([[1., 5.],
               [1., 7.]])
    """
    rows = np.asarray(x, dtype=np.float64)
    return np.hstack([np.ones((len(rows), 1)), rows])


def least_squares(x: ArrayLike, y: ArrayLike, ridge: float = 0.0) -> Floats:
    """Return θ* = (XᵀX + λI)⁻¹Xᵀy (D,), the minimiser of Σ (y_n − x_n·θ)² + λ‖θ‖².

    It is where the gradient 2Xᵀ(Xθ − y) + 2λθ is 0. Inputs that carry noise of standard deviation σ are λ = N·σ², see
    `expected_noisy_loss`. As a classifier, for y ∈ {−1, 1}, it decides by the sign of x·θ*. The condition of XᵀX is the
    square of X's, so half of float64's digits hold what an orthogonal decomposition of X would keep.

    Args:
        x: Rows (N,D); `add_bias` gives them a bias, which λ then shrinks too.
        y: Targets (N,).
        ridge: λ ≥ 0.

    Raises:
        UserError: The counts differ, λ is negative, or XᵀX + λI has no inverse.

    Example:
        >>> least_squares(add_bias([[0.0], [1.0], [2.0]]), [1.0, 3.0, 5.0]).round(6)
        array([1., 2.])
    """
    rows, targets = _checked(x, y)
    if not 0 <= ridge < np.inf:
        raise UserError(f"ridge={ridge}: give a finite number of at least 0")
    gram = rows.T @ rows + ridge * np.eye(rows.shape[1])
    if np.linalg.matrix_rank(gram, hermitian=True) < len(gram):
        raise UserError("the columns of x depend on each other, so XᵀX has no inverse: leave one out or give ridge > 0")
    return np.asarray(np.linalg.solve(gram, rows.T @ targets))


def squared_loss(x: ArrayLike, y: ArrayLike, theta: ArrayLike) -> float:
    """Return L(θ) = (1/N) Σ (y_n − x_n·θ)².

    Args:
        x: Rows (N,D).
        y: Targets (N,).
        theta: θ (D,).

    Raises:
        UserError: The counts of rows and targets differ.

    Example:
        >>> squared_loss([[1.0], [2.0]], [1.0, 4.0], [1.0])
        2.0
    """
    rows, targets = _checked(x, y)
    return float(np.mean((targets - rows @ np.asarray(theta)) ** 2))


def expected_noisy_loss(x: ArrayLike, y: ArrayLike, theta: ArrayLike, sigma: float) -> float:
    """Return E[(1/N) Σ (y_n − (x_n + δ_n)·θ)²] over noise δ_n ~ N(0, σ²I): L(θ) + σ²‖θ‖².

    (y − x·θ − δ·θ)² = (y − x·θ)² − 2(y − x·θ)(δ·θ) + (δ·θ)²; the middle term has mean 0 and the last the variance of
    δ·θ, σ²‖θ‖². Its minimiser is `least_squares(x, y, ridge=N·σ²)`.

    Args:
        x: Rows (N,D), without noise.
        y: Targets (N,).
        theta: θ (D,).
        sigma: Standard deviation of the noise, ≥ 0.

    Raises:
        UserError: The counts of rows and targets differ.

    Source: Bishop, "Training with Noise is Equivalent to Tikhonov Regularization", 1995.

    Example:
        >>> expected_noisy_loss([[1.0], [2.0]], [1.0, 4.0], [1.0], sigma=0.5)
        2.25
    """
    return squared_loss(x, y, theta) + sigma**2 * float(np.sum(np.square(theta)))


def _checked(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    rows, targets = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if rows.ndim != 2 or targets.shape != (len(rows),) or not len(rows):
        raise UserError(f"x of shape {rows.shape} and y of shape {targets.shape}: give (N,D) and (N,), N at least 1")
    return rows, targets
