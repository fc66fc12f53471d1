"""The linear projection of pixels, and the linear layer with the reference experiments' initialisation."""

from typing import Literal, final, get_args

from torch import Tensor, nn

from dml.encoders.base import Encoder, check_embedding_dim
from dml.ranges import check_choice

Initialisation = Literal["torch", "normal"]


@final
class NormalLinear(nn.LazyLinear):
    """A linear layer whose weights start as N(0, 1/(in+out)) and whose bias starts at 0; it becomes an `nn.Linear`.

    The standard deviation 1/√(in+out) is the reference experiments' own; Glorot's (2010) is √2 larger.

    Example:
        >>> import torch
        >>> layer = NormalLinear(50)
        >>> layer(torch.zeros(1, 350)).shape, bool((layer.weight.std() - 0.05).abs() < 0.002)
        (torch.Size([1, 50]), True)
    """

    def reset_parameters(self) -> None:
        """Draw the weights, once the input size is known."""
        if (
            self.has_uninitialized_params() or self.in_features == 0
        ):  # 0: torch's lazy constructor, before the first images
            return
        nn.init.normal_(self.weight, std=(self.in_features + self.out_features) ** -0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def linear_layer(out_features: int, bias: bool, initialisation: Initialisation) -> nn.LazyLinear:
    """Return a lazy linear layer, initialised PyTorch's way or the reference experiments' (`NormalLinear`).

    Example:
        >>> type(linear_layer(8, bias=False, initialisation="normal")).__name__
        'NormalLinear'
    """
    check_choice("initialisation", initialisation, get_args(Initialisation))
    return (NormalLinear if initialisation == "normal" else nn.LazyLinear)(out_features, bias=bias)


@final
class LinearEncoder(Encoder):
    """Embed an image by one matrix: embedding = P·pixels (+ bias).

    Args:
        embedding_dim: D, the size of the embedding, ≥ 1.
        bias: Whether a bias is added; distances between embeddings do not depend on it.
        initialisation: `torch` (PyTorch's own) or `normal` (N(0, 1/(in+out)), as in the reference experiments).
        normalize: Whether embeddings are brought to length one, the unit sphere, in training and after.

    Example:
        >>> import torch
        >>> LinearEncoder(embedding_dim=64)(torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 64])
    """

    def __init__(
        self, embedding_dim: int, bias: bool = False, initialisation: Initialisation = "torch", normalize: bool = False
    ) -> None:
        super().__init__(normalize)
        check_embedding_dim(embedding_dim)
        self.projection = linear_layer(embedding_dim, bias, initialisation)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,C,H,W)."""
        return self.finish(self.projection(images.flatten(1)))
