"""Low-rank adaptation: a large network learns through small matrices beside its weights; peft is optional."""

import copy
import re
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, final

from torch import Tensor, nn

from dml.encoders.base import Encoder
from dml.encoders.wrapped import WrappedEncoder
from dml.errors import UserError
from dml.ranges import check_number


@final
class LoRAEncoder(Encoder):
    """Learn low-rank changes to the layers of a pretrained network, and leave the network itself as it is.

    A layer with weights W gives (W + alpha/rank · B·A)·x. Only A, B and the encoder's projection are learnt; W,
    all biases, BatchNorm statistics and the network's own dropout stay. B starts at 0, so that training starts from
    the network as it was. A run's checkpoint holds all of them, and `dml export` writes W + alpha/rank · B·A.

    Args:
        encoder: A `TorchvisionEncoder` or `TimmEncoder`, or the `pretrained_encoder` of a run with one of these.
        rank: Rows of A, ≥ 1.
        alpha: The weight of the change is alpha / rank, > 0.
        dropout: Share of a layer's inputs hidden from A in training, in [0, 1).
        targets: Ends of the names of adapted layers, such as `qkv`; None: all linear layers and ungrouped convolutions.
            The attention of torchvision's vision transformers is neither, and is left as it is; timm's is adapted.

    Raises:
        UserError: peft is missing, the encoder is of another kind, no layer has such a name, or a number is out of
            range.

    Source:
        Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (ICLR 2022).
    """

    def __init__(
        self,
        encoder: Encoder,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        targets: Sequence[str] | None = None,
    ) -> None:
        if not isinstance(encoder, WrappedEncoder):
            told = f"LoRAEncoder adapts networks of torchvision and timm, not {type(encoder).__name__}"
            raise UserError(f"{told}: give dml.encoders.TorchvisionEncoder or TimmEncoder")
        super().__init__(encoder.normalize)
        check_number("rank", rank, least=1)
        check_number("alpha", alpha, above=0)
        check_number("dropout", dropout, least=0, below=1)
        self.encoder = encoder
        _inject(encoder.network, rank, alpha, dropout, _target_names(encoder.network, targets))
        self.train(self.training)

    def train(self, mode: bool = True) -> "LoRAEncoder":
        """Switch to training mode; the adapted network stays in evaluation mode, except for LoRA's own dropout."""
        super().train(mode)
        self.encoder.network.eval()
        for _, layer in _adapted(self.encoder.network):
            layer.lora_dropout.train(mode)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,1|3,H,W)."""
        embeddings: Tensor = self.encoder(images)
        return embeddings

    def merged(self) -> WrappedEncoder:
        """Return a copy of the encoder with the learnt changes added to its weights, without peft's layers."""
        encoder = copy.deepcopy(self.encoder)
        for name, layer in list(_adapted(encoder.network)):
            layer.merge()
            parent, _, last = name.rpartition(".")
            setattr(encoder.network.get_submodule(parent), last, layer.get_base_layer())
        return encoder.train(self.training)


def _adapted(network: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield name and layer of every layer that peft has replaced."""
    for name, module in network.named_modules():
        if hasattr(module, "lora_dropout"):
            yield name, module


def _target_names(network: nn.Module, targets: Sequence[str] | None) -> list[str]:
    """Return the full names of the layers to adapt.

    Raises:
        UserError: None ends in one of `targets`.
    """
    within = [name for name, module in network.named_modules() if isinstance(module, nn.MultiheadAttention)]
    known = [
        name
        for name, module in network.named_modules()
        if (isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1))
        and not any(name.startswith(f"{attention}.") for attention in within)  # their forward is never called
    ]
    found = known if targets is None else [n for n in known if any(f".{n}".endswith(f".{end}") for end in targets)]
    if not found:
        told = f"no linear layer or convolution has a name that ends in {' or '.join(targets or ['anything'])}"
        raise UserError(f"targets={targets}: {told}: choose from {', '.join(known[:8])} …, or leave targets out")
    return found


def _inject(network: nn.Module, rank: int, alpha: float, dropout: float, names: Sequence[str]) -> None:
    try:
        peft: Any = import_module("peft")
    except ImportError as error:
        raise UserError("peft is not installed: `pip install peft`, or `pip install 'dml[lora]'`") from error
    exactly = "|".join(map(re.escape, names))
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=f"(?:{exactly})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of language models
        peft.inject_adapter_in_model(config, network)
    for name, weight in network.named_parameters():
        weight.requires_grad_("lora_" in name)
