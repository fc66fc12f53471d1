"""What the convolutional encoders of the speed records share: initialisation, activation, normalisation, pooling."""

from typing import Literal, final, get_args

from torch import Tensor, nn

from dml.ranges import check_choice

Activation = Literal["relu", "gelu"]
Initialisation = Literal["torch", "dirac"]
Pooling = Literal["mean", "max", "none"]
_NORM_EPS = 1e-5


@final
class DiracConv2d(nn.LazyConv2d):
    """A convolution whose first filters pass on input channels; the others start as PyTorch's; it becomes a `Conv2d`.

    Of O filters on I channels, the first min(O, I) are a 1 at the centre, so that a deep network starts near the
    identity.

    Source: Zagoruyko, Komodakis, "DiracNets", 2017.

    Example:
        >>> import torch
        >>> images = torch.rand(1, 2, 5, 5)
        >>> bool((DiracConv2d(4, 3, padding=1, bias=False)(images)[:, :2] == images).all())
        True
    """

    def reset_parameters(self) -> None:
        """Draw the weights, once the number of channels is known."""
        super().reset_parameters()
        if not self.has_uninitialized_params() and self.in_channels:
            nn.init.dirac_(self.weight.data[: self.in_channels])


def convolution(width: int, initialisation: Initialisation) -> nn.LazyConv2d:
    """Return a lazy 3×3 convolution without bias (BatchNorm brings its own) that keeps the sides.

    Example:
        >>> import torch
        >>> convolution(8, "dirac")(torch.zeros(1, 3, 6, 6)).shape
        torch.Size([1, 8, 6, 6])
    """
    check_choice("initialisation", initialisation, get_args(Initialisation))
    kind = DiracConv2d if initialisation == "dirac" else nn.LazyConv2d
    return kind(width, 3, padding=1, bias=False)


def activation_layer(activation: Activation) -> nn.Module:
    """Return the activation of this name.

    Example:
        >>> import torch
        >>> activation_layer("gelu")(torch.zeros(1))
        tensor([0.])
    """
    check_choice("activation", activation, get_args(Activation))
    return nn.GELU() if activation == "gelu" else nn.ReLU(inplace=True)


def norm(momentum: float, learnt_scale: bool = True) -> nn.LazyBatchNorm2d:
    """Return a lazy BatchNorm.

    Args:
        momentum: Share of a batch in the running statistics.
        learnt_scale: False: the scale stays 1, only the bias is learnt.

    Example:
        >>> layer = norm(0.4, learnt_scale=False)
        >>> layer.weight.requires_grad, layer.bias.requires_grad
        (False, True)
    """
    layer = nn.LazyBatchNorm2d(eps=_NORM_EPS, momentum=momentum)
    layer.weight = nn.UninitializedParameter(requires_grad=learnt_scale)
    return layer


def pool(features: Tensor, pooling: Pooling) -> Tensor:
    """Return features (B,C,H,W) pooled over positions: (B,C), or all of them side by side, (B,C·H·W), for `none`.

    The gradient of a maximum goes to one position. `amax` shares it among all that equal the maximum: under
    `torch.compile` and 16 bits none does, since what lies before is computed again in 32 bits, and the gradient is 0/0.

    Example:
        >>> import torch
        >>> features = torch.tensor([[[[1.0, 4.0], [2.0, 3.0]]]])
        >>> pool(features, "max"), pool(features, "mean")
        (tensor([[4.]]), tensor([[2.5000]]))
    """
    if pooling == "none":
        return features.flatten(1)
    return features.flatten(2).max(dim=2).values if pooling == "max" else features.mean(dim=(2, 3))
