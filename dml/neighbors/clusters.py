"""k-means: several starts by k-means++, keeping the tightest clusters."""

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from dml.errors import UserError

_TOLERANCE = 1e-4  # of the mean variance: how little the centres move in the last round


def cluster(x: ArrayLike, num_clusters: int, seed: int = 0, iterations: int = 50, starts: int = 4) -> NDArray[np.int64]:
    """Return the k-means cluster (n,) of each row: of several starts the one with the least inertia.

    Rows are centred and brought to unit scale first, which moves no cluster, so neither an offset nor a factor changes
    the result. Rows that coincide may leave clusters empty. A round takes n·num_clusters·D multiplications.

    Args:
        x: Rows (n,D), n ≥ num_clusters; float64 is clustered in float64, everything else in float32.
        num_clusters: Number of clusters.
        seed: Of the draws of the first centres.
        iterations: Rounds of Lloyd's algorithm at most, of each start.
        starts: How many, each by greedy k-means++.

    Raises:
        UserError: More clusters than rows, or no start.

    Source: Arthur and Vassilvitskii, "k-means++: The Advantages of Careful Seeding" (2007).

    Example:
        >>> codes = cluster([[0.0], [0.1], [9.0]], 2)
        >>> bool(codes[0] == codes[1] != codes[2])
        True
    """
    given = np.asarray(x)
    rows = given.astype(np.float64)
    if not 1 <= num_clusters <= len(rows):
        raise UserError(f"{num_clusters} clusters of {len(rows)} rows: give between 1 and {len(rows)}")
    if starts < 1:
        raise UserError(f"starts={starts} of k-means: give at least one")
    rows -= rows.mean(axis=0)
    rows /= np.abs(rows).max() or 1.0
    rows = rows if given.dtype == np.float64 else rows.astype(np.float32)
    means = KMeans(num_clusters, n_init=starts, max_iter=iterations, tol=_TOLERANCE, random_state=seed, copy_x=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters
        return np.asarray(means.fit_predict(rows), dtype=np.int64)
