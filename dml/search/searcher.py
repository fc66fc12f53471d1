"""Answers which images of a store are most like others, and whether they are like any; needs no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from dml.embeddings import as_array, unit_rows
from dml.errors import UserError
from dml.neighbors.approximate import ApproximateIndex
from dml.neighbors.distances import get_metric
from dml.neighbors.index import NeighborIndex
from dml.search.artefact import INDEX, is_artefact
from dml.search.expansion import augment_rows, expand_queries
from dml.search.reranking import Reranking, rerank
from dml.search.store import Store
from dml.search.structure import num_candidates, search_blocks

Embed = Callable[[Sequence[str | Path]], NDArray[np.float32]]


class Match(NamedTuple):
    """An image that was found: rank from 1, distance, name, label, the folder or zip its name is relative to."""

    rank: int
    distance: float
    name: str
    label: str
    root: str
    id: int

    def shown(self, several: bool) -> str:
        """Return the name to show, with the last part of the root where there are several."""
        return f"{PurePath(self.root).name}/{self.name}" if several else self.name


@final
@dataclass(frozen=True)
class Found:
    """The images nearest to Q queries.

    Attributes:
        distances: float64 (Q,k), ascending.
        positions: int64 (Q,k) of the rows in the store.
        store: Where they are.
        threshold: Beyond this distance a match is none; None: all are matches.
    """

    distances: NDArray[np.float64]
    positions: NDArray[np.int64]
    store: Store
    threshold: float | None = None

    def __len__(self) -> int:
        return len(self.distances)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether each query (Q,) has a match within the threshold."""
        if self.threshold is None:
            return np.ones(len(self), bool)
        return np.asarray(self.distances[:, 0] <= self.threshold)

    def matches(self, query: int) -> list[Match]:
        """Return the matches of one query, nearest first, those beyond the threshold left out."""
        found = []
        for rank, (distance, position) in enumerate(
            zip(self.distances[query].tolist(), self.positions[query].tolist(), strict=True), 1
        ):
            if self.threshold is None or distance <= self.threshold:
                row = self.store.row(position)
                found.append(Match(rank, distance, row.name, row.label, row.root, row.id))
        return found


@final
class Searcher:
    """Searches a store: call it with embeddings, or with images where it has an embedder.

    Args:
        store: What is searched.
        embedder: Turns image files into embeddings (Q,D); `RunEmbedder` does. None: queries are embeddings.
        max_memory: Bytes the rows may take in memory; larger stores are searched block by block from the disk.
        augment: Draw every row towards so many of its nearest (database augmentation), in memory; 0: none.
        alpha: How steeply the weights of neighbours fall, there and in query expansion.
        only: Positions (n,) of the rows that are searched, exactly; None: all, by the store's structure.

    Raises:
        UserError: Augmented rows take more than `max_memory`, or there are too few.

    Example:
        >>> Searcher.load("no_such.npz")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no file no_such.npz: make it by `dml index` or `dml predict`, or give another
    """

    def __init__(
        self,
        store: Store,
        embedder: Embed | None = None,
        max_memory: int = 1 << 30,
        augment: int = 0,
        alpha: float = 3.0,
        only: NDArray[np.int64] | None = None,
    ) -> None:
        self.store, self.embedder, self.alpha = store, embedder, alpha
        self._max_memory = max_memory
        self._metric = get_metric(store.about.metric)
        self._cosine = self._metric.name == "cosine"
        self._only = only
        self._held: NDArray[np.float32] = store.embeddings if only is None else store.embeddings[only]
        self._block = max(1024, max_memory // (16 * store.dim))  # rows, their centred copies and what checks them
        self._kept: NeighborIndex | None = None
        self._codes: ApproximateIndex | None = None
        if augment:
            self._augment(augment)

    @classmethod
    def load(
        cls,
        path: str | Path,
        embedder: Embed | None = None,
        max_memory: int = 1 << 30,
        augment: int = 0,
        alpha: float = 3.0,
    ) -> "Searcher":
        """Open a store, or the index and the encoder of a folder of `dml export`; other arguments as above.

        Raises:
            UserError: There is no such file, it is damaged, or of another kind.
        """
        if is_artefact(path):
            from dml.search.onnx_embedder import OnnxEmbedder  # Pillow, only where images are embedded

            embedder = OnnxEmbedder(path) if embedder is None else embedder
            path = Path(path) / INDEX
        return cls(Store(Path(path)), embedder, max_memory, augment, alpha)

    def __len__(self) -> int:
        return len(self._held)

    def __call__(
        self,
        queries: Any,
        k: int = 5,
        threshold: float | None = None,
        expand: int = 0,
        reranking: Reranking | None = None,
    ) -> Found:
        """Return the k nearest rows of each query.

        Args:
            queries: Embeddings (Q,D), or image files where there is an embedder.
            k: How many.
            threshold: Distance beyond which an image is not known; None: every image is.
            expand: Draw queries towards so many of their nearest rows first (α-QE); 0: as they are.
            reranking: Order by k-reciprocal neighbours, the queries asked together; distances are then those of the
                re-ranking. None: by the distance of the run.

        Raises:
            UserError: k is larger than the store, queries are not of its size, or a threshold is given where distances
                are not those of the run.
        """
        rows = self._embed(queries)
        if not 1 <= k <= len(self):
            raise UserError(f"k={k} for an index of {len(self)} images: give k between 1 and {len(self)}")
        if threshold is not None and (expand or reranking is not None):
            raise UserError("a threshold is a distance of the run: give it without expansion and re-ranking")
        if self._cosine or expand or reranking is not None:
            rows = rows.astype(np.float64)
            rows = unit_rows(rows) if self._cosine else rows
        if expand:
            near = self.search(rows, min(expand, len(self)))[1]
            rows = expand_queries(rows, self._rows, near, self.alpha, self._cosine)
        if reranking is None:
            distances, positions = self.search(rows, k)
        else:
            memory = self._max_memory
            distances, positions = rerank(rows, self._rows, len(self), self._squared, k, reranking, memory)
        return Found(distances, positions if self._only is None else self._only[positions], self.store, threshold)

    def search(self, rows: NDArray[Any], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return distances, ascending, and positions (Q,k) of the rows nearest to embeddings (Q,D)."""
        if not len(self.store.codes) or self._held is not self.store.embeddings:
            return self._search_exactly(rows, k)
        if self._codes is None:
            told = self.store.about.factory
            self._codes = ApproximateIndex.of_codes(told, self.store.codes, self.store.dim, len(self.store))
        return self._search_codes(self._codes, rows, k)

    def _embed(self, queries: Any) -> NDArray[Any]:
        named = isinstance(queries, str | Path) or (
            isinstance(queries, Sequence) and len(queries) > 0 and isinstance(queries[0], str | Path)
        )
        if named:
            if self.embedder is None:
                raise UserError("queries are names of images: give Searcher.load an embedder, or embeddings as queries")
            queries = self.embedder([queries] if isinstance(queries, str | Path) else queries)
        rows = as_array(queries)
        if rows.ndim != 2 or rows.shape[1] != self.store.dim:
            raise UserError(f"queries have shape {rows.shape}: give embeddings (Q,{self.store.dim}), as the index has")
        return rows

    def _augment(self, num_neighbours: int) -> None:
        if self._held.nbytes > self._max_memory:
            raise UserError(f"augmented rows take {self._held.nbytes:,} bytes: raise max_memory, or leave them out")
        if num_neighbours >= len(self):
            raise UserError(f"augment={num_neighbours} for an index of {len(self)} images: give less")
        rows = augment_rows(len(self), self._rows, self.search, num_neighbours, self.alpha, self._cosine)
        self._held, self._kept, self._codes = rows, None, None

    def _rows(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return rows (n,D), of length one under `cosine`."""
        rows = np.asarray(self._held[positions], dtype=np.float64)
        return unit_rows(rows) if self._cosine else rows

    def _squared(self, rows: NDArray[Any], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return squared Euclidean distances, of rows of length one under `cosine`, and positions."""
        distances, positions = self.search(rows, k)
        return 2 * distances if self._cosine else np.square(distances), positions

    def _search_exactly(self, rows: NDArray[Any], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        if len(self) <= self._block:
            if self._kept is None:
                self._kept = NeighborIndex(self._metric.name).add(self._held)
            return self._kept.search(rows, k)
        starts = range(0, len(self), self._block)
        blocks = ((start, self._held[start : start + self._block]) for start in starts)
        return search_blocks(blocks, rows, k, self._metric.name)

    def _search_codes(
        self, index: ApproximateIndex, rows: NDArray[Any], k: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the nearest of what an approximate search proposes, by exact distances."""
        asked = unit_rows(rows.astype(np.float64)) if self._cosine else rows
        found = index.search(asked.astype(np.float32), num_candidates(k, len(self)))
        distances, positions = np.empty((len(rows), k)), np.empty((len(rows), k), np.int64)
        for at, proposed in enumerate(found):
            near = np.unique(proposed[proposed >= 0])
            if len(near) < k:  # too few lists were looked through
                distances[at : at + 1], positions[at : at + 1] = self._search_exactly(rows[at : at + 1], k)
                continue
            held = np.asarray(self._held[near])
            held = unit_rows(held) if self._cosine else held
            keys = self._metric.paired(np.broadcast_to(asked[at], held.shape), held)
            order = np.argsort(keys, kind="stable")[:k]
            distances[at], positions[at] = self._metric.distance(keys[order]), near[order]
        return distances, positions
