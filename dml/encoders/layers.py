"""Takes an encoder apart into its layers, first to last."""

from typing import NamedTuple

from torch import nn

from dml.encoders.base import Encoder

_JOINING = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


class Layer(NamedTuple):
    """One layer with weights and whatever follows it up to the next: normalisation, activation, pooling, dropout.

    Attributes:
        name: of the module that opens it.
        modules: in order.
        parameters: of these modules.
    """

    name: str
    modules: list[nn.Module]
    parameters: list[nn.Parameter]


def layers_of(encoder: Encoder) -> list[Layer]:
    """Return the layers of an encoder, first to last, in the order in which it holds them.

    Encoders, the networks they wrap, and plain `nn.Sequential` and `nn.ModuleList` are taken apart; every other module
    (a convolution, a residual block, a transformer block) counts as one. Parameters that a wrapped network holds itself
    (a class token, position embeddings) belong to the first layer.

    Args:
        encoder: Its lazy sizes may still be open.

    Example:
        >>> from dml.encoders import ConvEncoder
        >>> [layer.name for layer in layers_of(ConvEncoder(8, channels=[4, 8]))]
        ['stages.0.0', 'stages.0.3', 'stages.1.0', 'stages.1.3', 'projection']
    """
    layers: list[Layer] = []
    loose: list[nn.Module] = []
    for name, module in _parts("", encoder, True):
        opens = any(True for _ in module.parameters()) and not isinstance(module, _JOINING)
        if opens or layers:
            if opens:
                layers.append(Layer(name, loose, []))
                loose = []
            layers[-1].modules.append(module)
            layers[-1].parameters.extend(module.parameters())
        else:
            loose.append(module)  # before the first weights
    if layers:
        known = {id(p) for layer in layers for p in layer.parameters}
        layers[0].parameters.extend(p for p in encoder.parameters() if id(p) not in known)
    return layers


def _parts(name: str, module: nn.Module, inside_encoder: bool) -> list[tuple[str, nn.Module]]:
    """Return the modules that count as one, with their names."""
    opened = isinstance(module, Encoder) or type(module) in (nn.Sequential, nn.ModuleList)
    children = list(module.named_children())
    if not children or not (opened or inside_encoder):
        return [(name, module)]
    prefix = f"{name}." if name else ""
    return [part for key, child in children for part in _parts(prefix + key, child, isinstance(module, Encoder))]
