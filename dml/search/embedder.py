"""Turns images into embeddings by a run's encoder; the one file of this room that loads torch, so import it late."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray

from dml import runs
from dml.data.images.batch import DecodedRows, usable_cores
from dml.data.images.decode import decode_image
from dml.data.sources.listing import Listing
from dml.data.streaming import Decoded, stream_images
from dml.encoders import encoder_hash, pretrained_encoder, settle
from dml.errors import UserError
from dml.search.embedded import Embedded, embed_files, embed_held
from dml.search.store import METRICS

Scale = float | list[float]


@final
class RunEmbedder:
    """The encoder of a run, with the image size and scale it was trained on; the run's own images are not needed.

    Called on images, it returns their embeddings (n,D), float32.

    Attributes: `folder` of the run, `weights` (a hash of the checkpoint and of how images are scaled), `metric`,
    `image_shape` (C, H, W), `class_names` (empty if the run does not have them), `encoder`, in evaluation mode.

    Args:
        run: The run's folder, its name in `runs_dir`, or `latest`.
        checkpoint: Which weights: the best by validation or the last.
        runs_dir: The folder that holds the runs.
        device: Where to compute; None: a GPU if there is one.
        workers: Processes that decode; None: one per core, at most 8.

    Raises:
        UserError: The run is gone or incomplete, or is not of images.

    Example:
        >>> RunEmbedder("nowhere", runs_dir="no_runs_yet")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no run 'nowhere': neither a folder of that path nor a run in no_runs_yet
    """

    def __init__(
        self,
        run: str,
        checkpoint: Literal["best", "last"] = "best",
        runs_dir: str = "runs",
        device: str | None = None,
        workers: int | None = None,
    ) -> None:
        self.folder = runs.find_run(run, runs_dir)
        self.metric, self.image_shape, self._mean, self._std, self._batch_size = _read_settings(self.folder)
        channels, height, width = self.image_shape
        self._channels: Literal[1, 3] = 1 if channels == 1 else 3
        self._size = (height, width)
        path = runs.find_checkpoint(self.folder, checkpoint)
        self.weights = _hash(path, json.dumps([self.image_shape, self._mean, self._std]))
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.encoder = pretrained_encoder(str(self.folder), checkpoint, runs_dir).to(self._device).eval()
        self._workers = min(8, usable_cores()) if workers is None else workers

    @property
    def class_names(self) -> list[str]:
        """The names of the run's classes, in label order."""
        record = runs.neighbors_path(self.folder, "val")
        return [str(name) for name in runs.read_arrays(record)["class_names"]] if record.exists() else []

    @property
    def encoder_hash(self) -> str:
        """The hash of the encoder alone, by which `dml calibrate` names it."""
        settle(self.encoder, self.image_shape)
        return encoder_hash(self.encoder)

    def embed(self, listing: Listing, positions: NDArray[np.int64]) -> Iterator[Embedded]:
        """Yield the embeddings of images of a listing, batch by batch, in the order given."""
        batches = stream_images(listing.reader, positions, self._size, self._channels, self._batch_size, self._workers)
        return map(self._embed, batches)

    def __call__(self, images: Sequence[Any] | NDArray[Any]) -> NDArray[np.float32]:
        """Return the embeddings (n,D) of images: paths of files, or uint8 arrays and Pillow's images of any size.

        Raises:
            UserError: One cannot be read; names it.
        """
        paths = [image for image in images if isinstance(image, str | Path)]
        if paths and len(paths) == len(images):
            return embed_files(paths, self.embed)
        return embed_held(images, self.image_shape, self._embed_rows, self._batch_size)

    def transform(self, image: Any) -> torch.Tensor:
        """Return one image, a uint8 array or Pillow's, in the encoder's form: float32 (C,H,W), normalised."""
        mean, std = (torch.tensor(value, dtype=torch.float32).reshape(-1, 1, 1) for value in (self._mean, self._std))
        return (torch.from_numpy(decode_image(image, self._size, self._channels)) / 255 - mean) / std

    def _embed_rows(self, rows: DecodedRows) -> Embedded:
        return self._embed(Decoded(rows.positions, torch.from_numpy(rows.images), rows.sizes, rows.failures))

    @torch.inference_mode()
    def _embed(self, batch: Decoded) -> Embedded:
        mean, std = (
            255 * torch.tensor(value, dtype=torch.float32, device=self._device).reshape(-1, 1, 1)
            for value in (self._mean, self._std)
        )
        if not len(batch.positions):
            return Embedded(batch.positions, np.empty((0, 0), np.float32), batch.sizes, batch.failures)
        images = (batch.images.to(self._device) - mean) / std
        rows = self.encoder(images).float().cpu().numpy()
        return Embedded(batch.positions, rows, batch.sizes, batch.failures)


def _hash(file: Path, more: str) -> str:
    total = hashlib.blake2b(digest_size=16)
    with runs.open_file(file) as opened:
        while piece := opened.read(1 << 20):
            total.update(piece)
    total.update(more.encode())
    return total.hexdigest()


def _read_settings(run: Path) -> tuple[str, tuple[int, int, int], Scale, Scale, int]:
    """Return metric, image shape, mean, std and batch size of a run, as its recipe and protocol say."""
    recipe, protocol = runs.read_recipe(run), runs.read_json(run / runs.PROTOCOL)
    data = recipe.get("data") or {}
    own: dict[str, Any] = data.get("init_args", data) if isinstance(data, dict) else {}
    shape = protocol.get("data", {}).get("image_shape") if isinstance(protocol, dict) else None
    kind = data.get("class_path", "ImageData") if isinstance(data, dict) else data
    if not str(kind).endswith("ImageData") or not (isinstance(shape, list) and len(shape) == 3 and shape[0] in (1, 3)):
        raise UserError(f"run {run} is not of images of 1 or 3 channels: give a run of `dml fit` on images")
    metric = (recipe.get("evaluation") or {}).get("metric", "l2")
    if metric not in METRICS:
        raise UserError(f"run {run} has metric {metric!r}: a search knows {' and '.join(METRICS)}")
    channels, height, width = (int(side) for side in shape)
    batch_size = min(int(own.get("eval_batch_size", 512)), 256)
    return metric, (channels, height, width), own.get("mean", 0.5), own.get("std", 0.5), batch_size
