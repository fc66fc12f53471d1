"""Writes an encoder as ONNX, from bytes of pixels to embeddings: scaling, mean and deviation are in the graph.

It uses the tracing exporter (`dynamo=False`): torch 2.8 to 2.15 all have it, it writes the same operators in each, it
takes a tenth of the other exporter's time, and it does not need onnxscript, of which every torch wants its own
versions. What it cannot write, resizing with antialiasing, is written here as two products with constant matrices.
"""

import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dml.encoders import Encoder
from dml.errors import UserError, reason_of

OPSET = 17  # what onnxruntime 1.12 of 2022 reads, and every later one
_MOST = 2**31 - 2**20  # bytes of one ONNX file
Numbers = float | Sequence[float]


@final
class PixelEncoder(nn.Module):
    """An encoder that takes images as decoded: (255·x − 255·mean) / (255·std), then the encoder.

    Args:
        encoder: Its lazy sizes fixed.
        mean: Of pixels within 0..1; one number, or one per channel.
        std: Likewise.

    Example:
        >>> from dml.encoders import FlattenEncoder
        >>> PixelEncoder(FlattenEncoder(), 0.5, 0.5)(torch.tensor([[[[0], [255]]]], dtype=torch.uint8))
        tensor([[-1.,  1.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder, mean: Numbers, std: Numbers) -> None:
        super().__init__()
        self.encoder = encoder
        for name, value in (("mean", mean), ("std", std)):
            self.register_buffer(name, 255 * torch.tensor(value, dtype=torch.float32).reshape(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return embeddings (N,D) of images, uint8 (N,H,W,C)."""
        embeddings: Tensor = self.encoder((images.permute(0, 3, 1, 2).float() - self.mean) / self.std)
        return embeddings.float()


@final
class _ResizeByProducts(TorchFunctionMode):
    """Resizes bilinearly with antialiasing by products with the matrices that do it along each side."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func is not F.interpolate or not given.get("antialias") or given.get("mode") != "bilinear":
            return func(*args, **given)
        images, size = args[0], given.get("size")
        if size is None or given.get("align_corners"):
            return func(*args, **given)
        height, width = (size, size) if isinstance(size, int) else size
        rows = resize_matrix(int(images.shape[-2]), int(height))
        columns = resize_matrix(int(images.shape[-1]), int(width))
        return rows @ (images @ columns.T)


def resize_matrix(size: int, to: int) -> Tensor:
    """Return the matrix (to, size) by which torch resizes a side, bilinearly with antialiasing.

    Example:
        >>> resize_matrix(4, 2)
        tensor([[0.4286, 0.4286, 0.1429, 0.0000],
                [0.0000, 0.1429, 0.4286, 0.4286]])
    """
    line = torch.eye(size)[None, None]
    return F.interpolate(line, size=(to, size), mode="bilinear", antialias=True)[0, 0]


def write_onnx(network: PixelEncoder, image_shape: tuple[int, int, int]) -> bytes:
    """Return a network as the bytes of an ONNX file: `images` uint8 (N,H,W,C) -> `embeddings` float32 (N,D), any N.

    Args:
        network: On the CPU, in float32, its mode `eval`.
        image_shape: (C, H, W).

    Raises:
        UserError: The package onnx is missing, the encoder does something that ONNX cannot express, or it is too
            large for one file.
    """
    channels, height, width = image_shape
    size = sum(value.nbytes for value in network.state_dict().values())
    if size > _MOST:
        raise UserError(f"the encoder has {size / 2**30:.2f} GiB of weights: an ONNX file holds at most 2")
    images = torch.zeros(2, height, width, channels, dtype=torch.uint8)
    content = io.BytesIO()
    free = {0: "N"}
    try:
        with _silence(), warnings.catch_warnings(), torch.no_grad(), _ResizeByProducts():
            warnings.simplefilter("ignore")  # of its age, and of sizes that are fixed here by intent
            torch.onnx.export(
                network,
                (images,),
                content,  # type: ignore[arg-type]  # taken, though the annotation names paths alone
                dynamo=False,
                opset_version=OPSET,
                input_names=["images"],
                output_names=["embeddings"],
                dynamic_axes={"images": free, "embeddings": free},
            )
    except Exception as error:  # a network may fail to be traced in any way
        if "onnx is not installed" in str(error).lower():
            raise UserError("the package onnx is not installed: `pip install 'dml[onnx]'`") from error
        kind = type(network.encoder).__name__
        raise UserError(f"{kind} cannot be written as ONNX ({reason_of(error)}): choose another encoder") from error
    return content.getvalue()


@contextmanager
def _silence() -> Iterator[None]:
    """Discard what torch's own code prints on standard output: the whole graph, if it fails."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
