"""The base class of all encoders: a network from images to embeddings."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dml.errors import UserError
from dml.ranges import MOST_UNITS


class Encoder(nn.Module, ABC):
    """A network that maps images (B,C,H,W) to embeddings (B,D).

    Encoders are given output sizes, not input sizes: those are read from the first images they see (`materialize`
    shows them some), as PyTorch's lazy layers do.

    Args:
        normalize: Whether embeddings are brought to length one, the unit sphere, in training and after.
    """

    def __init__(self, normalize: bool = False) -> None:
        super().__init__()
        self.normalize = normalize

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,C,H,W); a subclass returns them through `finish`."""

    def finish(self, embeddings: Tensor) -> Tensor:
        """Return embeddings (B,D) as they are, or of length one where `normalize` is set: under autocast in float32."""
        if not self.normalize:
            return embeddings
        wide = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
        unit = F.normalize(wide, dim=1)
        return unit if torch.is_autocast_enabled(embeddings.device.type) else unit.to(embeddings.dtype)


def check_embedding_dim(embedding_dim: int) -> None:
    """Refuse an embedding with no dimensions, or with more than 2²⁰.

    Raises:
        UserError: embedding_dim is out of this range.

    Example:
        >>> check_embedding_dim(0)
        Traceback (most recent call last):
        ...
        dml.errors.UserError: embedding_dim=0: give at least one dimension
    """
    if not 1 <= embedding_dim <= MOST_UNITS:
        at = "at least one dimension" if embedding_dim < 1 else f"at most {MOST_UNITS:,} dimensions"
        raise UserError(f"embedding_dim={embedding_dim}: give {at}")


@torch.no_grad()
def materialize(network: nn.Module, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Fix a network's lazy input sizes by a forward pass of zeros and return the shape of its output for one input.

    Args:
        network: Any network; its training mode, statistics and random state are left as they were.
        input_shape: Shape of one input, without the batch: (C,H,W) for an encoder.

    Raises:
        UserError: The network cannot take inputs of this shape.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
        >>> materialize(network, (1, 8, 8))
        (3,)
    """
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    try:
        with evaluating(network):  # BatchNorm must not count the zeros
            output: Tensor = network(torch.zeros(1, *input_shape, device=device, dtype=weights_dtype(network)))
    except (RuntimeError, AssertionError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{type(network).__name__} cannot take inputs of shape {tuple(input_shape)} ({reason}): "
            "set data.image_size to what it was built for, or choose another encoder"
        ) from error
    return tuple(output.shape[1:])


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Hold a network in evaluation mode; after it, every part is in the mode it was in.

    Example:
        >>> network = nn.Sequential(nn.BatchNorm1d(2).eval(), nn.Dropout())
        >>> with evaluating(network):
        ...     network.training
        False
        >>> network[0].training, network[1].training
        (False, True)
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def weights_dtype(network: nn.Module) -> torch.dtype:
    """Return the type of numbers that a network computes in: that of its first weights, float32 without any.

    Example:
        >>> weights_dtype(nn.Linear(2, 1).double()), weights_dtype(nn.ReLU())
        (torch.float64, torch.float32)
    """
    return next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)


def settle(network: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Bring a network whose weights were loaded to the state it had in training, lazy layers included.

    `load_state_dict` gives a lazy layer its weights but leaves its sizes at 0; had images come first, they would be
    set, and `encoder_hash` covers them too.

    Args:
        network: With its weights.
        input_shape: Shape of one input, without the batch.

    Example:
        >>> layer = nn.LazyLinear(2)
        >>> _ = layer.load_state_dict(nn.Linear(3, 2).state_dict())
        >>> settle(layer, (3,))
        >>> layer
        Linear(in_features=3, out_features=2, bias=True)
    """
    materialize(network, input_shape)
    for layer in network.modules():
        weight = getattr(layer, "weight", None)
        if isinstance(weight, Tensor):
            first, second = weight.shape[0], weight.shape[1] if weight.ndim > 1 else 0
            inputs = first if getattr(layer, "transposed", False) else second * int(getattr(layer, "groups", 1))
            for name, size in (("in_channels", inputs), ("in_features", second), ("num_features", first)):
                if getattr(layer, name, None) == 0:
                    setattr(layer, name, size)
