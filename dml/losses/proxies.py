"""The supervised contrastive loss with class proxies; the mathematics is in `dml.functional.proxies`."""

from typing import final

import torch
from torch import Tensor, nn

from dml.errors import UserError
from dml.functional.proxies import proxy_loss, supervised_contrastive_loss
from dml.ranges import MOST_UNITS, check_number


@final
class ProxyContrastiveLoss(nn.Module):
    """Make each embedding most similar to the proxy of its class, and to its class in the batch.

    L = proxy_weight · L_proxy + pair_weight · L_pairs: the cross-entropy, with label smoothing, of cosines with learnt
    proxies, one per class, and the supervised contrastive loss of the batch, both divided by the temperature. It
    compares inner products: set `normalize: true` on the encoder, and embeddings are compared by their cosine.

    Args:
        num_classes: C; left out in a recipe: the data's.
        embedding_dim: D; left out in a recipe: the encoder's.
        temperature: What similarities are divided by, > 0.
        label_smoothing: Share of the target dealt to all classes alike, in [0, 1).
        proxy_weight: ≥ 0.
        pair_weight: ≥ 0; 0: the batch's pairs are not looked at.

    Raises:
        UserError: A number is missing or out of its range, or embeddings have another size than `embedding_dim`.

    Source: Khosla et al., "Supervised Contrastive Learning", 2020; Zhai, Wu, "Classification is a Strong Baseline for
    Deep Metric Learning", 2019.

    Example:
        >>> loss = ProxyContrastiveLoss(num_classes=3, embedding_dim=2, temperature=1.0)
        >>> _ = loss.proxies.data.zero_()
        >>> loss(torch.eye(2), torch.tensor([0, 2]))  # ln 3: nothing tells the classes apart, and there are no pairs
        tensor(1.0986, grad_fn=<AddBackward0>)
    """

    def __init__(
        self,
        num_classes: int | None = None,
        embedding_dim: int | None = None,
        temperature: float = 0.1,
        label_smoothing: float = 0.0,
        proxy_weight: float = 1.0,
        pair_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if num_classes is None or embedding_dim is None:
            raise UserError("num_classes and embedding_dim: give both, the size of the table of proxies")
        check_number("num_classes", num_classes, least=2, most=MOST_UNITS)
        check_number("embedding_dim", embedding_dim, least=1, most=MOST_UNITS)
        check_number("temperature", temperature, above=0)
        check_number("label_smoothing", label_smoothing, least=0, below=1)
        check_number("proxy_weight", proxy_weight, least=0)
        check_number("pair_weight", pair_weight, least=0)
        self.num_classes = num_classes
        self.temperature = temperature
        self.label_smoothing = label_smoothing
        self.proxy_weight = proxy_weight
        self.pair_weight = pair_weight
        self.proxies = nn.Parameter(torch.randn(num_classes, embedding_dim) / embedding_dim**0.5)

    def forward(self, embeddings: Tensor, labels: Tensor, num_anchors: int | None = None) -> Tensor:
        """Return the scalar loss of embeddings (B,D) with labels (B,).

        Args:
            embeddings: (B,D).
            labels: (B,).
            num_anchors: Only the first so many are anchors, all are partners; None: all are both.
        """
        if embeddings.shape[1] != self.proxies.shape[1]:
            raise UserError(f"embeddings of size {embeddings.shape[1]}: set the loss's embedding_dim to that")
        anchors, own = embeddings[:num_anchors], labels[:num_anchors]
        loss = self.proxy_weight * proxy_loss(anchors, own, self.proxies, self.temperature, self.label_smoothing)
        if self.pair_weight:
            pairs = supervised_contrastive_loss(embeddings, labels, self.temperature, num_anchors)
            loss = loss + self.pair_weight * pairs
        return loss
