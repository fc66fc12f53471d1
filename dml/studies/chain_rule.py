"""The three links of softmax regression's gradient: ∂L/∂p, ∂p/∂g and ∂g/∂θ, whose product is (p − onehot) xᵀ."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def loss_by_probabilities(probabilities: ArrayLike, label: int) -> Floats:
    """Return ∂L/∂p_c = −[y = c] / p_c (C,) of L = −Σ_k [y = k] ln p_k.

    Args:
        probabilities: p (C,), within 0..1.
        label: y, from 0 to C − 1.

    Example:
        >>> loss_by_probabilities([0.25, 0.75], label=0)
        array([-4.,  0.])
    """
    p = np.asarray(probabilities, dtype=np.float64)
    derivatives = np.zeros(len(p))
    derivatives[label] = -1 / p[label]
    return derivatives


def probabilities_by_logits(probabilities: ArrayLike) -> Floats:
    """Return ∂p_c/∂g_j = p_c (δ_cj − p_j) (C,C) of the softmax p of logits g; row c, column j.

    Args:
        probabilities: p (C,), as the softmax gives them.

    Example:
        >>> probabilities_by_logits([0.25, 0.75])
        array([[ 0.1875, -0.1875],
               [-0.1875,  0.1875]])
    """
    p = np.asarray(probabilities, dtype=np.float64)
    return np.diag(p) - np.outer(p, p)


def logits_by_parameters(x: ArrayLike, num_classes: int) -> Floats:
    """Return ∂g_j/∂θ_{i,d} = [i = j] x_d (C,C,D+1) of g_j = Σ_d θ_{j,d} x_d; x_0 = 1 belongs to the bias.

    Args:
        x: One row with its bias (D+1,).
        num_classes: C.

    Example:
        >>> logits_by_parameters([1.0, 3.0], num_classes=2).tolist()
        [[[1.0, 3.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 3.0]]]
    """
    return np.eye(num_classes)[:, :, None] * np.asarray(x, dtype=np.float64)
