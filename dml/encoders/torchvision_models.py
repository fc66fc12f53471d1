"""Any classification network of torchvision as an encoder, with or without its weights."""

from difflib import get_close_matches
from typing import final

from torch import nn

from dml.encoders.wrapped import CHECKPOINT, Preprocessing, WrappedEncoder, load_weights, not_downloaded
from dml.errors import UserError


@final
class TorchvisionEncoder(WrappedEncoder):
    """Embed an image by a torchvision network without its last layer.

    Images are normalised as the weights expect, without weights as the network's default ones do; leave `data.mean` and
    `data.std` as they are.

    Args:
        name: As `torchvision.models.list_models` names it: `resnet18`, `vit_b_16`, `convnext_tiny` ...
        weights: None: untrained; `DEFAULT` or another name of torchvision's: downloaded on first use; a file: weights
            of the whole network, for work without a network connection; `CHECKPOINT`: untrained, for the weights of a
            run's checkpoint, which are loaded next.
        embedding_dim: D of a linear projection; None: the network's own features.
        image_size: Side in pixels that images are resized to inside; None: what the weights were trained at, or
            without weights no resizing.
        normalize: Whether embeddings are brought to length one, the unit sphere, in training and after.
        freeze_network: Leave the network as it is: weights, BatchNorm statistics and dropout; the projection is learnt.

    Raises:
        UserError: There is no such network, file or download, or the file is of another network.

    Example:
        >>> import torch
        >>> TorchvisionEncoder("resnet18", embedding_dim=64).eval()(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 64])
    """

    def __init__(
        self,
        name: str,
        weights: str | None = None,
        embedding_dim: int | None = None,
        image_size: int | None = None,
        normalize: bool = False,
        freeze_network: bool = False,
    ) -> None:
        network, card = _build(name, weights)
        _drop_last_layer(network, name)
        size = card.image_size if image_size is None and weights is not None else image_size
        super().__init__(network, card, size, embedding_dim, normalize, freeze_network)


def _build(name: str, weights: str | None) -> tuple[nn.Module, Preprocessing]:
    from torchvision.models import get_model, get_model_weights, list_models  # a second, only where it is asked for

    known = list_models(module=None)
    if name not in known:
        near = ", ".join(get_close_matches(name, known, n=3)) or "resnet18, vit_b_16, convnext_tiny"
        raise UserError(f"torchvision has no network {name!r}: choose one of its list, e.g. {near}")
    cards = get_model_weights(name)
    named = None if weights is None or weights not in cards.__members__ else weights
    card = cards[named or "DEFAULT"].transforms()
    if not hasattr(card, "crop_size"):
        raise UserError(f"{name!r} is not a network for images of one class each: choose a classification network")
    try:
        network: nn.Module = get_model(name, weights=named)
    except Exception as error:  # a connection fails in many ways
        if named is None:
            raise
        raise not_downloaded(name, str(named), error) from error
    if weights not in (None, CHECKPOINT) and named is None:
        load_weights(network, str(weights), name)
    _drop_side_outputs(network)
    return network, Preprocessing(card.crop_size[0], tuple(card.mean), tuple(card.std))


def _drop_side_outputs(network: nn.Module) -> None:
    """Remove the classifiers half-way through GoogLeNet and Inception v3, which only answer while training."""
    if getattr(network, "aux_logits", False):
        network.aux_logits = False  # type: ignore[assignment]
        for side in ("aux1", "aux2", "AuxLogits"):
            if hasattr(network, side):
                setattr(network, side, None)


def _drop_last_layer(network: nn.Module, name: str) -> None:
    """Remove the last linear layer, which names ImageNet's classes."""
    linear = [key for key, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise UserError(f"{name} does not end in a linear layer: choose another network")
    parent, _, last = linear[-1].rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Identity())
