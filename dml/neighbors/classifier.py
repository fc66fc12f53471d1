"""A k-NN classifier with scikit-learn's interface over the exact index."""

from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from dml.embeddings import as_array
from dml.errors import UserError
from dml.neighbors.index import NeighborIndex
from dml.ranges import whole_number

Weights = Literal["uniform", "distance", "temperature"]


class KNNClassifier(ClassifierMixin, BaseEstimator):
    """Votes of the k nearest training rows; equal votes go to the first class, as in scikit-learn.

    Args:
        k: Number of voters, ≥ 1.
        metric: `l1`, `l2`, `linf` or `cosine`; or a distance that was learnt: anything that makes embeddings (n,D) of
            what is fitted and predicted, such as `dml.load("runs/photos")` of images, or an encoder of its batches.
            Embeddings are compared by its own attribute `metric`, l2 where it has none.
        weights: `uniform`; `distance`, where a voter counts 1/d (voters at distance 0 count alone); `temperature`,
            where it counts exp(−d/temperature).
        temperature: Scale of `temperature` weights, > 0.
        backend: `auto`, `faiss` or `torch`.
        device: Where torch computes; None is the CPU.

    Example:
        >>> KNNClassifier(k=1).fit([[0.0], [1.0]], ["a", "b"]).predict([[0.9]])
        array(['b'], dtype='<U1')
    """

    def __init__(
        self,
        k: int = 5,
        *,
        metric: str | Callable[[Any], Any] = "l2",
        weights: Weights = "uniform",
        temperature: float = 0.07,
        backend: str = "auto",
        device: str | None = None,
    ) -> None:
        self.k = k
        self.metric = metric
        self.weights = weights
        self.temperature = temperature
        self.backend = backend
        self.device = device

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """Store the training rows X (n,D) and their classes y (n,).

        Raises:
            UserError: k or temperature out of range, unknown metric, weights or backend.
        """
        X, y = validate_data(self, self._embedded(X), as_array(y), dtype=[np.float32, np.float64])  # noqa: N806
        check_classification_targets(y)
        if self.weights not in ("uniform", "distance", "temperature"):
            raise UserError(f"unknown weights {self.weights!r}: choose uniform, distance or temperature")
        if whole_number("k", self.k) < 1 or not self.temperature > 0:
            raise UserError(f"k={self.k}, temperature={self.temperature}: both must be positive")
        self.classes_, self.codes_ = np.unique(np.asarray(y), return_inverse=True)
        name = self.metric if isinstance(self.metric, str) else getattr(self.metric, "metric", "l2")
        self.index_ = NeighborIndex(name, self.backend, self.device).add(X)
        return self

    def kneighbors(self, X: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:  # noqa: N803
        """Return distances and positions (n,k) of the k nearest training rows.

        Raises:
            UserError: k is larger than the training set.
        """
        check_is_fitted(self)
        rows = validate_data(self, self._embedded(X), dtype=[np.float32, np.float64], reset=False)
        if self.k > len(self.codes_):
            raise UserError(f"k={self.k} is larger than the {len(self.codes_)} training rows: give a smaller k")
        index: NeighborIndex = self.index_
        return index.search(rows, self.k)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Return each class's share of the votes (n,classes)."""
        distances, positions = self.kneighbors(X)
        return count_votes(self.codes_[positions], self._weigh(distances), len(self.classes_))

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Return the winning class (n,)."""
        winners = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[winners])

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:  # noqa: N803
        """Return the share of rows whose class is predicted; y (n,) may be a tensor, of any device."""
        return float(super().score(X, as_array(y), sample_weight))

    def _embedded(self, X: Any) -> Any:  # noqa: N803
        """Return rows as they are, or what a learnt distance makes of them."""
        return X if isinstance(self.metric, str) else as_array(self.metric(X))

    def _weigh(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.weights == "uniform":
            return np.ones_like(distances)
        if self.weights == "temperature":
            return np.asarray(np.exp((distances[:, :1] - distances) / self.temperature))  # the nearest counts 1
        zero: NDArray[np.bool_] = distances == 0
        inverse = np.divide(1.0, distances, out=zero.astype(np.float64), where=~zero)
        return np.asarray(np.where(zero.any(axis=1, keepdims=True), zero, inverse), dtype=np.float64)


def count_votes(codes: NDArray[np.int64], weights: NDArray[np.float64], num_classes: int) -> NDArray[np.float64]:
    """Return the share of votes (n,num_classes) from the classes (n,k) of the voters and their weights (n,k).

    Example:
        >>> count_votes(np.array([[0, 2, 2, 2]]), np.ones((1, 4)), 3)
        array([[0.25, 0.  , 0.75]])
    """
    flat = codes + num_classes * np.arange(len(codes))[:, None]
    votes = np.bincount(flat.ravel(), weights.ravel(), minlength=len(codes) * num_classes).reshape(
        len(codes), num_classes
    )
    return np.asarray(votes / votes.sum(axis=1, keepdims=True))
