"""Yields the batches of a part: pixels by position, transformed and normalised on the device.

The loader stands for torch's DataLoader and is read by Lightning through `sampler.set_epoch`, `state_dict` and
`load_state_dict`. Its state is an address, (epoch, position): the same batches follow by construction.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dml.data.batch import Batch
from dml.data.embedding_table import EmbeddingTable
from dml.data.images.pixels import Pixels
from dml.data.samplers.base import EpochBatches
from dml.data.transforms.base import Views, transform_batch


class BatchLoader:
    """Yields the batches of one part.

    Args:
        pixels: serves uint8 images by position in the source.
        labels: int64 (N,) labels of the whole source.
        ids: int64 (n,) positions of this part's samples in the source.
        batches: which of `ids` stand in which batch.
        mean: float32 (C,) or (1,), subtracted from pixels scaled to 0..1.
        std: likewise, divided by afterwards.
        device: where batches are transformed and handed out.
        transform: of training images, its noise addressed by (seed, epoch, position); None leaves images as they are.
        seed: of the transform.
        embedded: rows to hand out instead of untransformed images, looked at when a pass begins; None: always images.
        progress: tells how many batches of the epoch are done, if something else counts them; None counts yielded ones.
    """

    def __init__(
        self,
        pixels: Pixels,
        labels: NDArray[np.int64],
        ids: NDArray[np.int64],
        batches: EpochBatches,
        mean: Tensor,
        std: Tensor,
        device: torch.device,
        transform: nn.Module | None = None,
        seed: int = 0,
        embedded: EmbeddingTable | None = None,
        progress: Callable[[], int] | None = None,
    ) -> None:
        self.pixels = pixels
        self.labels = torch.from_numpy(labels)
        self.ids = ids
        self.sampler = batches  # where Lightning looks for set_epoch,
        self.batch_sampler = None  # and what it expects beside it
        self.shift = 255 * mean.view(-1, 1, 1).to(device)
        self.scale = 255 * std.view(-1, 1, 1).to(device)
        self.device = device
        self.transform = transform if transform is None else transform.to(device)
        self.seed = seed
        self.embedded = embedded
        self.progress = progress
        self._position = 0
        self._resume: tuple[int, int] | None = None  # (epoch, position)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.sampler.epoch
        start = self._resume[1] if self._resume is not None and self._resume[0] == epoch else 0
        self._resume, self._position = None, start
        ids = [self.ids[row] for row in self.sampler.rows()[start:]]
        if self.embedded is not None and self.transform is None and self.embedded.covers(self.ids):
            for batch_ids in ids:
                self._position += 1
                yield self._embedded_batch(self.embedded.get(batch_ids), torch.from_numpy(batch_ids))
            return
        addresses = self.sampler.addresses()[start:]
        for images, batch_ids, places in zip(self.pixels.batches(ids), ids, addresses, strict=True):
            self._position += 1
            yield self._batch(images, torch.from_numpy(batch_ids), torch.from_numpy(places), epoch)

    def _batch(self, images: Tensor, ids: Tensor, places: Tensor, epoch: int) -> Batch:
        images = images.to(self.device, non_blocking=True)
        views = Views(images, self.labels[ids].to(self.device), ids.to(self.device))
        if self.transform is not None:
            views = transform_batch(self.transform, views, self.seed, epoch, places)
        normalised = (views.images - self.shift).div_(self.scale)
        return Batch(normalised, views.labels, views.ids)

    def _embedded_batch(self, rows: Tensor, ids: Tensor) -> Batch:
        nothing = torch.empty(len(ids), 0, 0, 0, device=self.device)
        rows = rows.to(self.device, non_blocking=True)
        return Batch(nothing, self.labels[ids].to(self.device), ids.to(self.device), rows)

    def state_dict(self) -> dict[str, int]:
        """Where to continue: the epoch and how many of its batches are done."""
        position = self._position if self.progress is None else self.progress()
        return {"epoch": self.sampler.epoch, "position": position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue there: the next pass over that epoch yields the batches that are left; later epochs are whole."""
        self._resume = (state["epoch"], state["position"])
        self.sampler.set_epoch(state["epoch"])
