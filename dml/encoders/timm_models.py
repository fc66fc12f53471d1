"""Any network of timm as an encoder (DINOv2, ViT, ConvNeXt ...); timm is an optional package."""

from difflib import get_close_matches
from importlib import import_module
from typing import Any, final

from torch import nn

from dml.encoders.wrapped import CHECKPOINT, Preprocessing, WrappedEncoder, load_weights, not_downloaded
from dml.errors import UserError


@final
class TimmEncoder(WrappedEncoder):
    """Embed an image by a timm network without its classification layer.

    Images are normalised as the network's model card says; leave `data.mean` and `data.std` as they are.

    Args:
        name: As `timm.list_models` names it: `vit_small_patch14_dinov2`, `convnext_tiny`, `resnet10t` ...
        weights: None: untrained; `DEFAULT`: downloaded on first use; a file (.safetensors, .pth): the weights in it,
            for work without a network connection; `CHECKPOINT`: untrained, for the weights of a run's checkpoint, which
            are loaded next.
        embedding_dim: D of a linear projection; None: the network's own features.
        image_size: Side in pixels that images are resized to inside; None: what the weights were trained at, or
            without weights no resizing. A vision transformer only takes its own size.
        normalize: Whether embeddings are brought to length one, the unit sphere, in training and after.
        freeze_network: Leave the network as it is: weights, BatchNorm statistics and dropout; the projection is learnt.

    Raises:
        UserError: timm is missing, or there is no such network, file or download, or the file is of another network.
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
        size = card.image_size if image_size is None and weights is not None else image_size
        super().__init__(network, card, size, embedding_dim, normalize, freeze_network)


def _build(name: str, weights: str | None) -> tuple[nn.Module, Preprocessing]:
    try:
        timm = import_module("timm")
    except ImportError as error:
        raise UserError("timm is not installed: `pip install timm`, or `pip install 'dml[timm]'`") from error
    if ":" not in name and not timm.is_model(name.partition(".")[0]):  # behind the dot: which of its weights
        near = ", ".join(get_close_matches(name, timm.list_models(), n=3)) or "resnet18, vit_small_patch16_224"
        raise UserError(f"timm has no network {name!r}: choose one of timm.list_models(), e.g. {near}")
    try:
        network: Any = timm.create_model(name, pretrained=weights == "DEFAULT")
    except Exception as error:  # a connection fails in many ways
        if weights != "DEFAULT":
            raise
        raise not_downloaded(name, str(weights), error) from error
    if weights not in (None, "DEFAULT", CHECKPOINT):
        load_weights(network, str(weights), name)
    network.reset_classifier(0)
    card = network.pretrained_cfg
    return network, Preprocessing(card["input_size"][1], tuple(card["mean"]), tuple(card["std"]))
