"""How well k-means on the embeddings finds the classes again."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score
from torch import Tensor

from dml.embeddings import EmbeddingSet
from dml.neighbors.clusters import cluster


def clustering_scores(
    embeddings: ArrayLike | Tensor, labels: ArrayLike | Tensor, seeds: Sequence[int] = (0,)
) -> dict[str, float]:
    """Return `nmi` and `ami` of k-means clusters, as many as there are classes, averaged over seeds.

    Args:
        embeddings: Embeddings (N,D), clustered by Euclidean distance.
        labels: Whole numbers (N,).
        seeds: One k-means each, which is the best of several starts (`dml.neighbors.cluster`).

    Raises:
        UserError: What `EmbeddingSet` refuses.

    Example:
        >>> clustering_scores([[0.0], [0.1], [5.0], [5.1]], [0, 0, 1, 1])
        {'nmi': 1.0, 'ami': 1.0}
    """
    clustered = EmbeddingSet(embeddings, labels, what="clustered")  # type: ignore[arg-type]
    found = [cluster(clustered.embeddings, len(np.unique(clustered.labels)), seed) for seed in seeds]
    return {
        "nmi": float(np.mean([normalized_mutual_info_score(clustered.labels, codes) for codes in found])),
        "ami": float(np.mean([adjusted_mutual_info_score(clustered.labels, codes) for codes in found])),
    }
