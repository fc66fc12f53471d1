"""Embeddings in two dimensions, to look at: t-SNE, PCA, UMAP."""

from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from dml.errors import UserError

Method = Literal["tsne", "pca", "umap"]
FEWEST = 30  # points; below, neither t-SNE's perplexity nor UMAP's neighbourhoods have a meaning


def project(points: NDArray[np.floating[Any]], method: Method, seed: int = 0) -> tuple[NDArray[np.floating[Any]], str]:
    """Lay points out in the plane and say how.

    Args:
        points: (N,D), N and D ≥ 2.
        method: Fewer than 30 points are shown by `pca` whatever is asked for, and the words say so.
        seed: Of t-SNE and UMAP; PCA draws nothing.

    Returns:
        (N,2) and how it was made, e.g. `t-SNE, perplexity 30`.

    Raises:
        UserError: UMAP is asked for and not installed, or there are too few points or dimensions.

    Example:
        >>> flat, how = project(np.eye(5), "pca")
        >>> flat.shape, how
        ((5, 2), 'PCA')
    """
    if points.ndim != 2 or min(points.shape) < 2:
        raise UserError(f"embeddings of shape {points.shape} have no map: give at least two points of two dimensions")
    if method == "umap":
        umap = find_umap()
    if not np.ptp(points, axis=0).any():
        return np.zeros((len(points), 2)), "all are one point"  # on which t-SNE ends the process
    if method == "pca" or len(points) < FEWEST:
        return PCA(2).fit_transform(points), "PCA"
    if method == "tsne":
        perplexity = min(30.0, len(points) / 4)
        flat = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(points)
        return flat, f"t-SNE, perplexity {perplexity:.0f}"
    neighbours = min(15, len(points) - 1)
    flat = umap.UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1).fit_transform(points)
    return flat, f"UMAP, {neighbours} neighbours"


def find_umap() -> Any:
    """Return the module umap.

    Raises:
        UserError: It is not installed.
    """
    try:
        return import_module("umap")
    except ImportError as error:
        raise UserError("UMAP is not installed: `pip install umap-learn`, or choose tsne or pca") from error
