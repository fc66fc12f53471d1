"""Embeddings of a batch too large for one pass, with the gradient of the whole batch."""

import warnings

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def cached_embeddings(encoder: nn.Module, images: Tensor, chunk_size: int) -> Tensor:
    """Return the embeddings of all images without keeping activations: backward runs the encoder again, chunk by chunk.

    Any loss of the result has the gradient of the full batch, at the cost of a second forward pass and the activations
    of one chunk at a time. The second pass replays the random state of the first, so that dropout drops the same units.

    Args:
        encoder: images (n,…) -> embeddings (n,D), row by row.
        images: (B,…).
        chunk_size: How many images pass at a time, ≥ 1.

    Returns:
        (B,D), differentiable.

    Warns:
        UserWarning: The encoder holds BatchNorm in training mode. Its statistics are then those of a chunk, not of the
            batch, and it counts every chunk twice.

    Source:
        Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (2021).

    Example:
        >>> encoder, images = nn.Linear(4, 2), torch.randn(10, 4)
        >>> bool((cached_embeddings(encoder, images, chunk_size=3) - encoder(images)).abs().max() < 1e-6)
        True
    """
    if any(isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training for layer in encoder.modules()):
        warnings.warn(
            "gradient caching: BatchNorm sees chunks, not the batch, so gradients differ from the full batch's; "
            "use an encoder without it, or freeze it",
            stacklevel=2,
        )
    parts = [checkpoint(encoder, chunk, use_reentrant=False) for chunk in images.split(chunk_size)]
    return torch.cat(parts)
