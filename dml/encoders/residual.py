"""A residual encoder for small images."""

from collections.abc import Sequence
from typing import final, get_args

from torch import Tensor, nn

from dml.encoders.base import Encoder, check_embedding_dim
from dml.encoders.convolutions import Activation, Initialisation, Pooling, activation_layer, convolution, norm, pool
from dml.encoders.whitening import WhitenedPatches
from dml.errors import UserError
from dml.ranges import check_choice, check_number, check_widths


@final
class ResidualBlock(nn.Module):
    """Add to the features the result of two 3×3 convolutions, each with BatchNorm and activation.

    Args:
        width: Channels of the features.
        activation: `relu` or `gelu`.
        initialisation: Of the convolutions: `torch` or `dirac`.
        norm_momentum: Share of a batch in BatchNorm's running statistics, in (0, 1].
        learnt_scale: False: the scales of BatchNorm stay 1.

    Example:
        >>> import torch
        >>> ResidualBlock(4, "relu", "torch", 0.1)(torch.zeros(2, 4, 6, 6)).shape
        torch.Size([2, 4, 6, 6])
    """

    def __init__(
        self,
        width: int,
        activation: Activation,
        initialisation: Initialisation,
        norm_momentum: float,
        learnt_scale: bool = True,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for _ in range(2):
            self.layers.append(convolution(width, initialisation))
            self.layers.extend([norm(norm_momentum, learnt_scale), activation_layer(activation)])

    def forward(self, features: Tensor) -> Tensor:
        """Return features (B,width,H,W) for features (B,width,H,W)."""
        added: Tensor = self.layers(features)
        return features + added


@final
class ResidualEncoder(Encoder):
    """Embed a small image by stages of a 3×3 convolution and residual blocks, pooled over positions, and a projection.

    Each stage but the first halves the sides by max-pooling, if they are above 1. (64, 128, 256, 512) with blocks
    (0, 1, 0, 1) is the nine-layer net of the speed records.

    Args:
        embedding_dim: D, the size of the embedding, ≥ 1.
        channels: Width of each stage, first to last.
        blocks: Residual blocks of each stage.
        patch_size: Side in pixels of a whitened first layer (`WhitenedPatches`); None: none.
        pooling: Over the last features' positions: `mean`, `max` or `none`: the projection sees every position, which
            tells glyphs apart that have the same parts; images then keep the size of the first.
        activation: `relu` or `gelu`.
        initialisation: Of the convolutions: `torch` or `dirac`.
        norm_momentum: Share of a batch in BatchNorm's running statistics, in (0, 1].
        dropout: Share of the pooled features dropped while training, in [0, 1).
        first_stride: Max-pooling after the first stage's convolution, in pixels: 2 or more for images of 64 and above.
        standardize: Whether BatchNorm without weights brings the projection's numbers to mean 0 and variance 1. As
            features are positive, all embeddings point one way at first; a contrastive loss on the unit sphere spends
            its first steps on undoing that.
        normalize: Whether embeddings are brought to length one, the unit sphere, in training and after.

    Raises:
        UserError: A number is out of its range, a word is no choice, or there are not as many blocks as channels.

    Source: He et al., "Deep Residual Learning for Image Recognition", 2016; Page, "How to Train Your ResNet", 2018; Luo
    et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", 2019, on BatchNorm of embeddings.

    Example:
        >>> import torch
        >>> ResidualEncoder(embedding_dim=32, channels=(8, 16), blocks=(0, 1))(torch.zeros(5, 1, 28, 28)).shape
        torch.Size([5, 32])
    """

    def __init__(
        self,
        embedding_dim: int,
        channels: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (0, 1, 0, 1),
        patch_size: int | None = None,
        pooling: Pooling = "mean",
        activation: Activation = "relu",
        initialisation: Initialisation = "torch",
        norm_momentum: float = 0.1,
        dropout: float = 0.0,
        first_stride: int = 1,
        standardize: bool = False,
        normalize: bool = False,
    ) -> None:
        super().__init__(normalize)
        check_embedding_dim(embedding_dim)
        check_widths("channels", channels, empty=False)
        if len(blocks) != len(channels) or min(blocks) < 0:
            raise UserError(f"blocks={list(blocks)}: give a number of at least 0 for each of {len(channels)} channels")
        check_choice("pooling", pooling, get_args(Pooling))
        check_number("norm_momentum", norm_momentum, above=0, most=1)
        check_number("dropout", dropout, least=0, below=1)
        check_number("first_stride", first_stride, least=1, most=64)
        self.pooling: Pooling = pooling
        self.patches = nn.Sequential()
        if patch_size is not None:
            self.patches.extend([WhitenedPatches(patch_size), activation_layer(activation)])
        self.stages = nn.ModuleList()
        for number, (width, count) in enumerate(zip(channels, blocks, strict=True)):
            stride = 2 if number else first_stride
            stage = nn.Sequential(convolution(width, initialisation))
            if stride > 1:
                stage.append(nn.MaxPool2d(stride, ceil_mode=True))  # a side of 1 stays
            stage.extend([norm(norm_momentum), activation_layer(activation)])
            stage.extend([ResidualBlock(width, activation, initialisation, norm_momentum) for _ in range(count)])
            self.stages.append(stage)
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.LazyLinear(embedding_dim, bias=False)
        self.standardization = (
            nn.BatchNorm1d(embedding_dim, momentum=norm_momentum, affine=False) if standardize else nn.Identity()
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,C,H,W)."""
        features = self.patches(images)
        for stage in self.stages:
            features = stage(features)
        pooled = self.dropout(pool(features, self.pooling))
        return self.finish(self.standardization(self.projection(pooled)))
