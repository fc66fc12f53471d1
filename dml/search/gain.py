"""What query expansion, augmentation and re-ranking gain on the labelled images of a store, and what they cost."""

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dml.errors import UserError
from dml.search.reranking import Reranking
from dml.search.searcher import Searcher
from dml.search.store import Store

_QUERIES = 200
_DEEPEST = 500  # ranks looked at for MAP@R
_NEIGHBOURS = 5


class Gain(NamedTuple):
    """One way to search: the mean scores of held-out queries, and the seconds of preparation and search."""

    name: str
    recall_at_1: float
    map_at_r: float
    seconds: float


def measure_gains(store: Store, max_memory: int = 1 << 30, seed: int = 0) -> list[Gain]:
    """Hold some labelled images out, search them among all others in each way, and score what is found.

    MAP@R as in "A Metric Learning Reality Check"; of classes with more than 500 images the first 500 ranks count.

    Args:
        store: With labels.
        max_memory: Bytes for each way.
        seed: Draws the queries: at most 200, and a tenth of the images.

    Raises:
        UserError: Fewer than 20 images are labelled with a class that two or more have.
    """
    counts = np.bincount(store.labels, minlength=len(store.class_names))
    named = np.array([bool(name) for name in store.class_names])
    able = np.flatnonzero((counts > 1)[store.labels] & named[store.labels])
    if len(able) < 20:
        raise UserError(f"{store.path} holds {len(able)} images of classes with two or more: 20 are needed to measure")
    held_out = np.sort(np.random.default_rng(seed).choice(able, min(_QUERIES, len(able) // 10), replace=False))
    rest = np.setdiff1d(np.arange(len(store)), held_out)
    left = np.bincount(store.labels[rest], minlength=len(counts))
    held_out = held_out[left[store.labels[held_out]] > 0]
    if not len(held_out):
        raise UserError(f"{store.path}: the {len(able) // 10} queries drawn leave none of their classes: add images")
    relevant = np.minimum(left[store.labels[held_out]], _DEEPEST)
    k = min(int(relevant.max()), len(rest))
    ways: list[tuple[str, int, int, Reranking | None]] = [
        ("plain", 0, 0, None),
        (f"expand {_NEIGHBOURS}", _NEIGHBOURS, 0, None),
        (f"augment {_NEIGHBOURS}", 0, _NEIGHBOURS, None),
        ("augment and expand", _NEIGHBOURS, _NEIGHBOURS, None),
        ("rerank", 0, 0, Reranking()),
    ]
    queries = np.asarray(store.embeddings[held_out])
    gains = []
    for name, expand, augment, reranking in ways:
        began = time.perf_counter()
        searcher = Searcher(store, None, max_memory, min(augment, len(rest) - 1), only=rest)
        found = searcher(queries, k, expand=expand, reranking=reranking).positions
        seconds = time.perf_counter() - began
        hits = store.labels[found] == store.labels[held_out][:, None]
        gains.append(Gain(name, float(hits[:, 0].mean()), _map_at_r(hits, relevant), seconds))
    return gains


def _map_at_r(hits: NDArray[np.bool_], relevant: NDArray[np.int64]) -> float:
    """Return the mean of (1/R) Σ over hits at rank i ≤ R of precision@i."""
    ranks = np.arange(1, hits.shape[1] + 1)
    precision = np.cumsum(hits, axis=1) / ranks
    counted = hits & (ranks <= relevant[:, None])
    return float(((precision * counted).sum(axis=1) / relevant).mean())
