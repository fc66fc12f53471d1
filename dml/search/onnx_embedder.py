"""Turns images into embeddings by an exported encoder: onnxruntime, NumPy and Pillow are enough."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from dml.data.images.batch import DecodedRows, decode_rows, usable_cores
from dml.data.sources.listing import Listing
from dml.errors import UserError, reason_of
from dml.search.artefact import ENCODER, Artefact
from dml.search.embedded import Embedded, embed_files, embed_held

_BATCH = 64  # images at a time


@final
class OnnxEmbedder:
    """The encoder of a folder that `dml export` wrote; on the CPU.

    Attributes: `folder`, `weights`, `metric`, `image_shape` (C, H, W) and `encoder_hash` as the folder's manifest says.

    Args:
        artefact: The folder, or what was read from it.
        threads: Of the network and of decoding; None: one per core, at most 8.

    Raises:
        UserError: The folder is not an artefact, its encoder is damaged or another network, or onnxruntime is missing.

    Example:
        >>> OnnxEmbedder("no_such_folder")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no_such_folder is not an artefact: it holds no manifest.json; give a folder written by
        `dml export`
    """

    def __init__(self, artefact: str | Path | Artefact, threads: int | None = None) -> None:
        about = artefact if isinstance(artefact, Artefact) else Artefact.load(artefact)
        self.folder, self.weights, self.metric = about.folder, about.weights, about.metric
        self.image_shape = about.image_shape
        self.encoder_hash = str(about.about.get("encoder_hash", ""))
        channels, height, width = self.image_shape
        self._channels: Literal[1, 3] = 1 if channels == 1 else 3
        self._size = (height, width)
        self._threads = min(8, usable_cores()) if threads is None else threads
        self._session = open_session(about.read(ENCODER), str(about.folder / ENCODER), self._threads)
        check_session(self._session, about)

    def embed(self, listing: Listing, positions: NDArray[np.int64]) -> Iterator[Embedded]:
        """Yield the embeddings of images of a listing, batch by batch, in the order given."""
        rows = [positions[at : at + _BATCH] for at in range(0, len(positions), _BATCH)]
        decode = partial(decode_rows, listing.reader, size=self._size, channels=self._channels)
        if len(rows) == 1:
            yield self._embed(decode(rows[0]))
            return
        with ThreadPoolExecutor(self._threads) as pool:
            waiting: deque[Future[DecodedRows]] = deque()
            try:
                for row in rows:
                    waiting.append(pool.submit(decode, row))
                    if len(waiting) > self._threads:
                        yield self._embed(waiting.popleft().result())
                while waiting:
                    yield self._embed(waiting.popleft().result())
            finally:
                pool.shutdown(cancel_futures=True)

    def __call__(self, images: Sequence[Any] | NDArray[Any]) -> NDArray[np.float32]:
        """Return the embeddings (n,D) of images: paths of files, or uint8 arrays and Pillow's images of any size.

        Raises:
            UserError: One cannot be read; names it.
        """
        paths = [image for image in images if isinstance(image, str | Path)]
        if paths and len(paths) == len(images):
            return embed_files(paths, self.embed)
        return embed_held(images, self.image_shape, self._embed, _BATCH)

    def embed_pixels(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embeddings (n,D) of decoded images, uint8 (n,H,W,C), n at least 1."""
        blocks = [images[at : at + _BATCH] for at in range(0, len(images), _BATCH)]
        return np.concatenate([run_session(self._session, block) for block in blocks])

    def _embed(self, batch: DecodedRows) -> Embedded:
        if not len(batch.positions):
            return Embedded(batch.positions, np.empty((0, 0), np.float32), batch.sizes, batch.failures)
        rows = self.embed_pixels(batch.images.transpose(0, 2, 3, 1))
        return Embedded(batch.positions, rows, batch.sizes, batch.failures)


def open_session(content: bytes, name: str, threads: int) -> Any:
    """Return an onnxruntime session of a network.

    Args:
        content: The bytes of an ONNX file; data outside it are not looked for.
        name: Its path, for errors.
        threads: Of the computation.

    Raises:
        UserError: onnxruntime is missing, or cannot make a network from these bytes.
    """
    try:
        onnxruntime: Any = import_module("onnxruntime")
    except ImportError as error:
        told = f"onnxruntime is not installed ({reason_of(error)})"
        raise UserError(f"{told}: `pip install onnxruntime`, or `pip install 'dml[onnx]'`") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # the last level, a layout for this processor, takes longer than the first thousand images gain by it
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would burn the other cores
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of several types that onnxruntime does not export
        raise UserError(f"{name} is not a network that onnxruntime can run ({reason_of(error)})") from error


def run_session(session: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the embeddings (n,D) of images, uint8 (n,H,W,C)."""
    found: NDArray[np.float32] = session.run(["embeddings"], {"images": np.ascontiguousarray(images)})[0]
    return found


def check_session(session: Any, about: Artefact) -> None:
    """Refuse a network that does not have the form given in the manifest.

    Raises:
        UserError: Its input or its output has another name, type or shape.
    """
    channels, height, width = about.image_shape
    inputs = [(each.name, each.type, list(each.shape)[1:]) for each in session.get_inputs()]
    outputs = [(each.name, each.type, list(each.shape)[1:]) for each in session.get_outputs()]
    wanted = ("images", "tensor(uint8)", [height, width, channels])
    named = outputs and outputs[0][:2] == ("embeddings", "tensor(float)")
    dims = outputs[0][2] if outputs else []
    if (
        inputs != [wanted]
        or not named
        or len(dims) != 1
        or (isinstance(dims[0], int) and dims[0] != about.embedding_dim)
    ):
        told = f"it takes {inputs} and gives {outputs}"
        wants = f"images uint8 (N,{height},{width},{channels}) -> embeddings float32 (N,{about.embedding_dim})"
        raise UserError(f"{about.folder / ENCODER} is not the network of this artefact ({told}): {wants} is expected")
