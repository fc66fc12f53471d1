"""Runs a frozen encoder once per image and keeps its embeddings, in memory and on disk.

On disk an entry is `embeddings-KEY.pt` in the data's cache folder, KEY being the hash of the encoder (weights, buffers,
classes, settings), of the images (content, size, channels, normalisation, which of them), and of the arithmetic
(precision, kind of device, batch size). Nothing else decides what an encoder in evaluation mode gives.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import final

import numpy as np
import torch
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from torch import Tensor

from dml.data import LabelledData
from dml.data.handover import prepare_once
from dml.data.images.cache import replace_file
from dml.data.loader import BatchLoader
from dml.encoders import Encoder, encoder_hash
from dml.functional.growing import GrowingRows

logger = logging.getLogger(__name__)
FORM = 1  # raise it when entries change: old ones are then never read again


Embed = Callable[[Tensor], Tensor]


@final
class FrozenEmbeddings:
    """The embeddings that one frozen encoder gives for one datamodule's images.

    Args:
        encoder: Its sizes are fixed and it is in evaluation mode.
        data: Set up; its table of embeddings is filled.
        arithmetic: Names whatever else the numbers depend on, e.g. `bf16-mixed cuda`.

    Example:
        >>> from dml.encoders import FlattenEncoder
        >>> from dml.data import ImageData
        >>> data = ImageData(cache=False)
        >>> data.setup("fit")
        >>> FrozenEmbeddings(FlattenEncoder(), data, "32 cpu").serve([data.parts.val], FlattenEncoder())
        >>> next(iter(data.val_dataloader()[0])).embeddings.shape
        torch.Size([359, 64])
    """

    def __init__(self, encoder: Encoder, data: LabelledData, arithmetic: str) -> None:
        self.encoder = encoder
        self.data = data
        self.arithmetic = arithmetic
        cache = data.embedding_cache
        self.folder = None if cache is None else cache[0]
        self._served = "" if cache is None else cache[1]
        self._kept: dict[str, Tensor] = {}

    def serve_loaders(self, trainer: Trainer, loaders: Sequence[BatchLoader]) -> None:
        """Serve the images of these loaders; the first process of a machine runs the encoder for the others.

        Args:
            trainer: Its precision is the encoder's.
            loaders: Of untransformed images.
        """
        plugin = trainer.precision_plugin

        def embed(images: Tensor) -> Tensor:
            with plugin.forward_context():
                embeddings: Tensor = self.encoder(plugin.convert_input(images))
            return embeddings

        self.serve([loader.ids for loader in loaders], embed, trainer)

    def serve(self, parts: Iterable[NDArray[np.int64]], embed: Embed, trainer: Trainer | None = None) -> None:
        """Have the datamodule hand out embeddings for these images in place of the images.

        Args:
            parts: Positions of images; what the table already covers is left as it is.
            embed: The encoder, called as the trainer calls it: in its precision.
            trainer: Tells which process this is; None where it is alone.
        """
        missing = [ids for ids in parts if len(ids) and not self.data.embedded.covers(ids)]
        identity = encoder_hash(self.encoder) if missing else ""
        with torch.inference_mode(False), torch.no_grad():  # rows made in inference mode could not train a head
            for ids in missing:
                key = self._key(identity, ids)
                if key not in self._kept:
                    rows = prepare_once(partial(self._read_or_embed, key, ids, embed), trainer)
                    self._kept[key] = self._place(rows)
                self.data.embedded.fill(ids, self._kept[key])

    def _read_or_embed(self, key: str, ids: NDArray[np.int64], embed: Embed) -> Tensor:
        path = None if self.folder is None else self.folder / f"embeddings-{key}.pt"
        rows = None if path is None else read_rows(path, len(ids))
        if rows is None:
            found = GrowingRows()
            for batch in self.data.ordered_dataloader(ids):
                found.append(embed(batch.images))
            rows = found.all()
            assert rows is not None
            if path is not None:
                write_rows(path, rows)
        return rows

    def _key(self, identity: str, ids: NDArray[np.int64]) -> str:
        digest = hashlib.sha256(f"{FORM} {identity} {self._served} {self.arithmetic}".encode())
        digest.update(np.ascontiguousarray(ids).tobytes())
        return digest.hexdigest()[:32]

    def _place(self, rows: Tensor) -> Tensor:
        """Move rows to the device that trains, unless that would take more than half of the memory it has left."""
        device = next((p.device for p in self.encoder.parameters()), rows.device)
        if device.type == "cuda" and 2 * rows.nbytes > torch.cuda.mem_get_info(device)[0]:
            return rows
        return rows.to(device)


def read_rows(path: Path, count: int) -> Tensor | None:
    """Return the rows of an entry, or None if there is none or it is damaged."""
    try:
        entry = torch.load(path, map_location="cpu", weights_only=True)
        rows: Tensor = entry["rows"]
        if len(rows) == count and entry["digest"] == _digest(rows):
            return rows
    except FileNotFoundError:
        return None
    except Exception as error:  # a broken file fails in many ways
        logger.debug("cached embeddings '%s' cannot be read: %s", path, error)
    logger.warning("cached embeddings '%s' are damaged: the encoder is run again", path)
    return None


def write_rows(path: Path, rows: Tensor) -> None:
    """Write an entry, whole or not at all; a full disk is reported and costs a run of the encoder next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda file: torch.save({"rows": rows, "digest": _digest(rows)}, file))
    except (OSError, RuntimeError) as error:  # torch's writer tells a full disk by a RuntimeError
        logger.warning("embeddings are not cached in '%s' (%s): set data.cache_dir", path.parent, error)


def _digest(rows: Tensor) -> str:
    return hashlib.sha256(rows.contiguous().flatten().view(torch.uint8).numpy().tobytes()).hexdigest()
