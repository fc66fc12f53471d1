"""What encoders that wrap other libraries' networks share: preprocessing, weights from a file, projection."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dml.encoders.base import Encoder, check_embedding_dim
from dml.errors import UserError

CHECKPOINT = "CHECKPOINT"  # weights that a run's checkpoint holds, and that nothing else is read for


class Preprocessing(NamedTuple):
    """What a network's weights expect, according to their model card.

    Attributes:
        image_size: side in pixels.
        mean: per channel, subtracted from pixels within 0..1.
        std: per channel, divided by afterwards.
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class WrappedEncoder(Encoder):
    """A network of another library with its own preprocessing and a projection.

    It takes pixels within −1..1, which is what `ImageData` gives with its own mean and std of 0.5 (other values are
    refused when training starts, or images would be normalised twice), and normalises them for the network itself.
    Grey images are shown as colour images with three equal channels.

    Args:
        network: images (B,3,H,W) -> features (B,F).
        preprocessing: What its weights expect.
        image_size: Side in pixels that images are resized to (bilinear, antialiased); None: as they come.
        embedding_dim: D of a linear projection of the features; None: the features are the embedding.
        normalize: Whether embeddings are brought to length one, the unit sphere, in training and after.
        freeze_network: Leave the network as it is: weights, BatchNorm statistics and dropout; the projection is learnt.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        image_size: int | None,
        embedding_dim: int | None,
        normalize: bool = False,
        freeze_network: bool = False,
    ) -> None:
        super().__init__(normalize)
        if image_size is not None and image_size < 1:
            raise UserError(f"image_size={image_size} of the encoder: give a side of at least one pixel")
        if embedding_dim is not None:
            check_embedding_dim(embedding_dim)
        self.network = network
        self.preprocessing = preprocessing
        self.image_size = image_size
        self.freeze_network = freeze_network
        self.projection = nn.Identity() if embedding_dim is None else nn.LazyLinear(embedding_dim)
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(-1, 1, 1))
        if freeze_network:
            network.requires_grad_(False)
            network.eval()

    def train(self, mode: bool = True) -> "WrappedEncoder":
        """Switch to training mode; a frozen network stays in evaluation mode: BatchNorm statistics would drift."""
        super().train(mode)
        if self.freeze_network:
            self.network.eval()
        return self

    def preprocess(self, images: Tensor) -> Tensor:
        """Return images (B,1|3,H,W) within −1..1 as the network expects them."""
        size = self.image_size
        if size is not None and images.shape[-2:] != (size, size):
            images = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
        return ((images + 1) / 2 - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,1|3,H,W)."""
        return self.finish(self.projection(self.network(self.preprocess(images)).flatten(1)))


def load_weights(network: nn.Module, path: str, name: str) -> None:
    """Load a file of weights into a network.

    Args:
        network: The whole network, its classification layer included.
        path: A `.safetensors` file, or one of torch.save with the weights by name, alone or under `state_dict` or
            `model`.
        name: The network's name, for errors.

    Raises:
        UserError: The file is missing or unreadable, or holds the weights of another network.

    Example:
        >>> load_weights(nn.Linear(1, 1), "nowhere.pth", "resnet18")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: weights=nowhere.pth: no such file: give an existing one, `DEFAULT` to download, or none
    """
    weights = _read(Path(path).expanduser(), path)
    own = network.state_dict()
    for key in [*own, *(key for key in weights if key not in own)]:
        here, there = (tuple(w[key].shape) if key in w else "absent" for w in (own, weights))
        if here != there and not key.endswith("num_batches_tracked"):
            told = f"the file holds the weights of another model than {name}: {key} is {there}, not {here}"
            raise UserError(f"weights={path}: {told}")
    network.load_state_dict(dict(weights), strict=False)


def not_downloaded(name: str, weights: str, error: Exception) -> UserError:
    """Return the error for weights that cannot be downloaded, for example offline."""
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    told = f"{name}'s cannot be downloaded ({reason})"
    return UserError(f"weights={weights}: {told}: give the path of a file that holds them, or null to start without")


def _read(path: Path, given: str) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise UserError(f"weights={given}: no such file: give an existing one, `DEFAULT` to download, or none")
    try:
        if path.suffix == ".safetensors":
            content = import_module("safetensors.torch").load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise UserError(f"weights={given}: needs the package safetensors: `pip install safetensors`") from error
    except Exception as error:  # a file of another kind fails in many ways
        told = "not a file of weights, or is damaged: give one written by torch.save"
        raise UserError(f"weights={given}: {told}") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"weights={given}: the file holds no weights by name: give one with a network's state_dict")
    return content
