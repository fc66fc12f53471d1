"""Losses of probabilities: of an anchor's partners in the batch, and of classes by their proxies."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dml.errors import UserError
from dml.functional.pairwise import check_labels


def supervised_contrastive_loss(
    embeddings: Tensor, labels: Tensor, temperature: float, num_anchors: int | None = None
) -> Tensor:
    """Return the mean negative log-probability of the anchors' positives among all their partners.

    L = mean over anchors i that have positives of −1/|P(i)| · Σ_{p∈P(i)} log(exp(s_ip/τ) / Σ_{a≠i} exp(s_ia/τ)), s the
    inner product.

    Args:
        embeddings: (B,D), of length one where s is to be the cosine.
        labels: (B,).
        temperature: τ > 0.
        num_anchors: Only the first so many embeddings are anchors; None: all.

    Returns:
        Scalar, in 32 bits or more; 0 with gradient 0 where no anchor has a positive.

    Raises:
        UserError: Shapes do not fit.

    Source: Khosla et al., "Supervised Contrastive Learning", 2020, L_out.

    Example:
        >>> supervised_contrastive_loss(torch.tensor([[1.0], [1.0], [1.0]]), torch.tensor([0, 0, 1]), 1.0)  # ln 2
        tensor(0.6931)
    """
    check_labels(embeddings, labels)
    num_anchors = len(labels) if num_anchors is None else num_anchors
    with torch.autocast(embeddings.device.type, enabled=False):
        rows = embeddings.double() if embeddings.dtype is torch.float64 else embeddings.float()
        logits = rows[:num_anchors] @ rows.T / temperature  # (A,B)
    itself = torch.eye(num_anchors, len(labels), dtype=torch.bool, device=labels.device)
    positive = (labels[:num_anchors, None] == labels) & ~itself
    counts = positive.sum(dim=1)
    log_probability = logits - logits.masked_fill(itself, -torch.inf).logsumexp(dim=1, keepdim=True)
    means = log_probability.where(positive, 0).sum(dim=1) / counts.clamp(min=1)
    found = counts > 0
    return -means.where(found, 0).sum() / found.sum().clamp(min=1)


def proxy_loss(
    embeddings: Tensor, labels: Tensor, proxies: Tensor, temperature: float, label_smoothing: float = 0.0
) -> Tensor:
    """Return the cross-entropy of classes whose logits are the inner products with their proxies, over τ.

    Args:
        embeddings: (B,D), of length one where the logits are to be cosines.
        labels: (B,), within 0 … C−1.
        proxies: (C,D); they are brought to length one.
        temperature: τ > 0.
        label_smoothing: Share of the target that is dealt to all classes alike, in [0, 1).

    Returns:
        Scalar, in 32 bits or more.

    Raises:
        UserError: Shapes do not fit, or (of labels on the CPU) one is out of range.

    Source: Zhai, Wu, "Classification is a Strong Baseline for Deep Metric Learning", 2019; Szegedy et al., "Rethinking
    the Inception Architecture", 2016, on smoothing.

    Example:
        >>> proxy_loss(torch.tensor([[0.0, 1.0]]), torch.tensor([0]), torch.eye(2), temperature=1.0)  # ln(1 + e)
        tensor(1.3133)
    """
    check_labels(embeddings, labels)
    if labels.device.type == "cpu":
        first, last = int(labels.min()), int(labels.max())
        if first < 0 or last >= len(proxies):
            raise UserError(f"labels {first} to {last} for {len(proxies)} proxies: give 0 to {len(proxies) - 1}")
    with torch.autocast(embeddings.device.type, enabled=False):
        rows = embeddings.double() if embeddings.dtype is torch.float64 else embeddings.float()
        logits = rows @ F.normalize(proxies.to(rows.dtype), dim=1).T / temperature  # (B,C)
    return F.cross_entropy(logits, labels.long(), label_smoothing=label_smoothing)
