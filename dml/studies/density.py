"""Densities and class probabilities from nearest neighbours, in any number of dimensions.

p(x) = k / (N·V), where V is the volume of the smallest ball around x that holds the k nearest of N rows. Right in the
limit of many rows and neighbours; but for any k it is k/(k − 1) too large on average, and it is not a density: its
tails fall as 1/r^D, so its integral over all space diverges.
"""

from typing import Any, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, softmax
from sklearn.base import BaseEstimator, ClassifierMixin

from dml.errors import UserError
from dml.neighbors.index import NeighborIndex

Floats = NDArray[np.float64]


def log_ball_volume(radius: ArrayLike, dim: int) -> Floats:
    """Return ln V of balls: V = π^(D/2) / Γ(D/2 + 1) · r^D; π·r² in the plane, 2·r on a line.

    Args:
        radius: r ≥ 0, any shape; 0 gives −∞.
        dim: D ≥ 1.

    Example:
        >>> np.exp(log_ball_volume([1.0, 2.0], dim=2)) / np.pi
        array([1., 4.])
    """
    with np.errstate(divide="ignore"):
        log_radius = np.log(np.asarray(radius, dtype=np.float64))
    return np.asarray(dim / 2 * np.log(np.pi) - gammaln(dim / 2 + 1) + dim * log_radius)


@final
class KNNDensity(BaseEstimator):
    """The k-NN density of rows: p(x) = k / (N·V(x)), under Euclidean distance.

    Args:
        k: Neighbours the ball holds, ≥ 1; more of them smooth more. For k = 1 the estimate is infinite at every row.

    Source:
        Loftsgaarden and Quesenberry, "A nonparametric estimate of a multivariate density function" (1965).

    Example:
        >>> line = KNNDensity(k=2).fit([[0.0], [1.0], [2.0], [3.0]])
        >>> np.exp(line.log_density([[0.5]]))  # 2 of 4 rows within ±0.5
        array([0.5])
    """

    def __init__(self, k: int) -> None:
        self.k = k

    def fit(self, x: ArrayLike) -> Self:
        """Store the rows (N,D).

        Raises:
            UserError: k is out of range, or the rows are not a table of finite numbers.
        """
        self.index_ = NeighborIndex("l2").add(x)
        self.dim_ = int(np.shape(x)[1])
        if not 1 <= self.k <= len(self.index_):
            raise UserError(f"k={self.k} for {len(self.index_)} rows: give k between 1 and {len(self.index_)}")
        return self

    def log_density(self, x: ArrayLike) -> Floats:
        """Return ln p (n,) at x (n,D); where k rows lie exactly at x the ball has no volume and it is +∞.

        A stored row asked for here counts among its own neighbours; `log_density_left_out` leaves it out.
        """
        return self._log(self.index_.search(x, self.k)[0][:, -1], len(self.index_))

    def log_density_left_out(self, x: ArrayLike) -> Floats:
        """Return ln p (N,) at the stored rows x (N,D), each estimated from the N − 1 others.

        Raises:
            UserError: There are no k others.
        """
        others = len(self.index_) - 1
        if self.k > others:
            raise UserError(f"k={self.k} with one of {others + 1} rows left out: give k between 1 and {others}")
        # the row itself is one of those at distance 0, whichever of them comes first
        return self._log(self.index_.search(x, self.k + 1)[0][:, -1], others)

    def _log(self, radius: Floats, rows: int) -> Floats:
        return np.asarray(np.log(self.k / rows) - log_ball_volume(radius, self.dim_))


@final
class KNNBayes(ClassifierMixin, BaseEstimator):
    """Class probabilities by Bayes' rule: p(c|x) = p(c)·p(x|c) / Σ, with a k-NN density of each class's own rows.

    p(c) is the class's share of the rows. With a ball per class this is p(c|x) ∝ 1/V_c: the class whose k-th row is
    nearest wins. (With one ball for all classes, p(x|c) = k_c/(N_c·V) gives p(c|x) = k_c/k: the vote of
    `KNNClassifier`.)

    Args:
        k: Neighbours the ball of every class holds, from 1 to the rows of the smallest class.

    Example:
        >>> bayes = KNNBayes(k=1).fit([[0.0], [4.0]], ["a", "b"])
        >>> bayes.predict_proba([[1.0]])  # balls of ±1 and ±3
        array([[0.75, 0.25]])
    """

    def __init__(self, k: int) -> None:
        self.k = k

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Store rows (N,D) and their classes (N,).

        Raises:
            UserError: k is larger than a class, or the counts of rows and classes differ.
        """
        rows, classes = np.asarray(x), np.asarray(y)
        if len(rows) != len(classes):
            raise UserError(f"{len(rows)} rows but {len(classes)} classes: give one class per row")
        self.classes_, counts = np.unique(classes, return_counts=True)
        if counts.min() < self.k:
            smallest = self.classes_[counts.argmin()]
            raise UserError(f"k={self.k}, but class {smallest} has {counts.min()} rows: give k up to {counts.min()}")
        self.priors_: Floats = counts / len(rows)  # p(c)
        self.densities_ = [KNNDensity(self.k).fit(rows[classes == label]) for label in self.classes_]
        return self

    def log_densities(self, x: ArrayLike) -> Floats:
        """Return ln p(x|c) (n,classes) at x (n,D)."""
        return np.stack([density.log_density(x) for density in self.densities_], axis=1)

    def predict_proba(self, x: ArrayLike) -> Floats:
        """Return p(c|x) (n,classes); classes of infinite density at x share it equally (balls of one size)."""
        log_joint = np.log(self.priors_) + self.log_densities(x)
        infinite = np.isposinf(log_joint)
        at_a_row = infinite.any(axis=1, keepdims=True)
        return np.asarray(softmax(np.where(at_a_row, np.where(infinite, 0.0, -np.inf), log_joint), axis=1))

    def predict(self, x: ArrayLike) -> NDArray[Any]:
        """Return the most probable class (n,); equal ones go to the first."""
        return np.asarray(self.classes_[self.predict_proba(x).argmax(axis=1)])
