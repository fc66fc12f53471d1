"""The small net of the CIFAR-10 speed records: whitened patches, then blocks of two convolutions."""

from collections.abc import Sequence
from typing import final, get_args

from torch import Tensor, nn

from dml.encoders.base import Encoder, check_embedding_dim
from dml.encoders.convolutions import Activation, Initialisation, Pooling, activation_layer, convolution, norm, pool
from dml.encoders.residual import ResidualBlock
from dml.encoders.whitening import WhitenedPatches
from dml.ranges import check_choice, check_number, check_widths


@final
class WhitenedConvEncoder(Encoder):
    """Embed a small image by fixed whitened patches, blocks of two 3×3 convolutions, and pooling over positions.

    Each block halves the sides between its convolutions by max-pooling; BatchNorm, whose scale stays 1, and the
    activation follow both. Three blocks are six layers with weights of their own beside the whitened patches and the
    projection, and need images of at least 9 pixels a side; they were designed for 32.

    Args:
        embedding_dim: D, the size of a linear projection, ≥ 1; None: the last block's features are the embedding.
        channels: Width of each block, first to last.
        patch_size: Side of the whitened patches, in pixels.
        pooling: Over the last features' positions: `max`, `mean` or `none`: every position counts, which tells glyphs
            apart that have the same parts; images then keep the size of the first.
        activation: `gelu` or `relu`.
        initialisation: Of the convolutions: `dirac` (near the identity) or `torch`.
        norm_momentum: Share of a batch in BatchNorm's running statistics, in (0, 1]: large if training is short.
        normalize: Whether embeddings are brought to length one, the unit sphere, in training and after.
        residual: Whether the second convolution of each block is a residual block of two: nine layers for three blocks.

    Source: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024.

    Example:
        >>> import torch
        >>> WhitenedConvEncoder(embedding_dim=128)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 128])
    """

    def __init__(
        self,
        embedding_dim: int | None = None,
        channels: Sequence[int] = (64, 256, 256),
        patch_size: int = 2,
        pooling: Pooling = "max",
        activation: Activation = "gelu",
        initialisation: Initialisation = "dirac",
        norm_momentum: float = 0.4,
        normalize: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__(normalize)
        if embedding_dim is not None:
            check_embedding_dim(embedding_dim)
        check_widths("channels", channels, empty=False)
        check_choice("pooling", pooling, get_args(Pooling))
        check_number("norm_momentum", norm_momentum, above=0, most=1)
        self.pooling: Pooling = pooling
        self.patches = nn.Sequential(WhitenedPatches(patch_size), activation_layer(activation))
        self.blocks = nn.Sequential()
        for width in channels:
            self.blocks.extend([convolution(width, initialisation), nn.MaxPool2d(2)])
            self.blocks.extend([norm(norm_momentum, learnt_scale=False), activation_layer(activation)])
            if residual:
                self.blocks.append(ResidualBlock(width, activation, initialisation, norm_momentum, learnt_scale=False))
            else:
                self.blocks.append(convolution(width, initialisation))
                self.blocks.extend([norm(norm_momentum, learnt_scale=False), activation_layer(activation)])
        self.projection = nn.Identity() if embedding_dim is None else nn.LazyLinear(embedding_dim, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,C,H,W)."""
        features = self.blocks(self.patches(images))  # (B, width, H/2ⁿ, W/2ⁿ)
        return self.finish(self.projection(pool(features, self.pooling)))
