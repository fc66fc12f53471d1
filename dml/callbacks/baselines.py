"""The baselines of an evaluation: raw pixels and the untrained encoder, on a sample if the data set is large."""

import functools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dml.callbacks.collector import Collector
from dml.data import Batch, LabelledData
from dml.data.loader import BatchLoader
from dml.embeddings import EmbeddingSet
from dml.encoders import Encoder
from dml.encoders.base import evaluating, weights_dtype
from dml.functional.distributed import rank, world_size

Ints = NDArray[np.int64]
_LEAST = 64  # images in a sample, whatever they take
_MOST_NUMBERS = 10**10  # compared, queries times references times pixels: some seconds on two cores


class Sample(NamedTuple):
    """Some of the images of an evaluation.

    Attributes:
        sides: ids of queries and, if they are searched among other images, of references.
        total: images in all.
    """

    sides: list[Ints]
    total: int

    @property
    def size(self) -> dict[str, float]:
        """How many images of how many, in the form of `scores.json`."""
        return {"images": sum(map(len, self.sides)), "of": self.total}


def draw_sample(loaders: Sequence[BatchLoader], shape: Sequence[int], most: int) -> Sample | None:
    """Choose the images that baselines are scored on; None for all, if that is cheap.

    That is where the raw pixels of all take no more than `most` bytes and comparing every query with every reference
    compares at most 10¹⁰ pixels. A sample takes half of the bytes, and compares no more: the same classes on every
    side, as many as there is room for with two images of each, spread evenly over all classes, and of each class as
    many images as there is room for, spread evenly too.

    Args:
        loaders: of queries and, if they are searched among other images, of references.
        shape: of one image; a pixel takes 4 bytes.
        most: bytes.
    """
    if not all(hasattr(loader, "labels") for loader in loaders):
        return None  # not images: what they take is not known
    total, each = sum(len(loader.ids) for loader in loaders), 4 * math.prod(shape)
    compared = len(loaders[0].ids) * len(loaders[-1].ids) * math.prod(shape)
    if total * each <= most and compared <= _MOST_NUMBERS:
        return None
    labels = [loader.labels.numpy()[loader.ids] for loader in loaders]
    room = most // 2 // each if total * each > most else total
    room = max(_LEAST, min(room, int(total * math.sqrt(_MOST_NUMBERS / compared))))
    counts = [max(2, room * len(own) // total) for own in labels]
    classes = functools.reduce(np.intersect1d, labels, np.unique(labels[0]))
    fitting = min(len(classes), max(1, min(counts) // 2))
    chosen = classes[np.rint(np.linspace(0, len(classes) - 1, fitting)).astype(np.int64)]
    sides = []
    for loader, own, count in zip(loaders, labels, counts, strict=True):
        sides.append(np.sort(loader.ids[take_evenly(own, chosen, max(2, count // max(1, fitting)))]))
    return Sample(sides, total)


def take_evenly(labels: Ints, chosen: Ints, each: int) -> Ints:
    """Return positions of at most `each` samples of each chosen class, spread evenly over it.

    Example:
        >>> take_evenly(np.array([0, 1, 0, 1, 0, 2]), np.array([0, 2]), 2)
        array([0, 4, 5])
    """
    order = np.argsort(labels, kind="stable")
    starts, ends = (np.searchsorted(labels[order], chosen, side) for side in ("left", "right"))
    taken = [
        order[start + np.rint(np.linspace(0, end - start - 1, min(each, end - start))).astype(np.int64)]
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
    return np.concatenate([np.empty(0, np.int64), *taken])


def embed_sides(
    encoder: Encoder, data: LabelledData, loaders: Sequence[BatchLoader], sample: Sample | None, device: torch.device
) -> list[EmbeddingSet]:
    """Return the embeddings of the loaders' images, or of a sample of them; each process computes its share."""
    if sample is not None:
        loaders = [data.ordered_dataloader(ids[rank() :: world_size()]) for ids in sample.sides]
    return [embed(encoder, loader, device) for loader in loaders]


@torch.no_grad()
def embed(encoder: Encoder, loader: Iterable[Batch], device: torch.device) -> EmbeddingSet:
    """Return the embeddings of a loader's samples, computed in evaluation mode."""
    collector, dtype = Collector(), weights_dtype(encoder)
    with evaluating(encoder):
        for batch in loader:
            images: Tensor = batch.images.to(device, dtype)
            collector.add(encoder(images), batch)
    return collector.collect(device)
