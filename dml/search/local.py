"""Nearest rows of a store on this machine: exactly, in memory or block by block, or by its search structure."""

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from dml.embeddings import unit_rows
from dml.neighbors.approximate import ApproximateIndex
from dml.neighbors.distances import get_metric
from dml.neighbors.index import NeighborIndex
from dml.search.store import Store
from dml.search.structure import num_candidates, search_blocks


@final
class LocalRows:
    """Searches the rows of a file, or others instead.

    Args:
        store: Whose metric and search structure they have.
        max_memory: Bytes the rows may take in memory; more are searched block by block.
        rows: (N,D) what is searched instead, exactly; None: the store's own, by its structure.

    Example:
        >>> from pathlib import Path
        >>> LocalRows(Store(Path("no_such.npz")))
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no file no_such.npz: make it by `dml index` or `dml predict`, or give another
    """

    def __init__(self, store: Store, max_memory: int = 1 << 30, rows: NDArray[np.float32] | None = None) -> None:
        self.held: NDArray[np.float32] = store.embeddings if rows is None else rows
        self._store = store
        self._metric = get_metric(store.about.metric)
        self._coded = rows is None and len(store.codes) > 0
        self._block = max(1024, max_memory // (16 * store.dim))  # rows, their centred copies and what checks them
        self._kept: NeighborIndex | None = None
        self._codes: ApproximateIndex | None = None

    def __len__(self) -> int:
        return len(self.held)

    def vectors(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return rows (n,D) as they are."""
        return np.asarray(self.held[positions])

    def search(self, rows: NDArray[Any], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return distances, ascending, and positions (Q,k) of the rows nearest to embeddings (Q,D)."""
        return self._search_codes(rows, k) if self._coded else self._search_exactly(rows, k)

    def _search_exactly(self, rows: NDArray[Any], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        if len(self) <= self._block:
            if self._kept is None:
                self._kept = NeighborIndex(self._metric.name).add(self.held)
            return self._kept.search(rows, k)
        starts = range(0, len(self), self._block)
        blocks = ((start, self.held[start : start + self._block]) for start in starts)
        return search_blocks(blocks, rows, k, self._metric.name)

    def _search_codes(self, rows: NDArray[Any], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the nearest of what an approximate search proposes, by exact distances."""
        store, cosine = self._store, self._metric.name == "cosine"
        if self._codes is None:
            self._codes = ApproximateIndex.of_codes(store.about.factory, store.codes, store.dim, len(store))
        asked = unit_rows(rows.astype(np.float64)) if cosine else rows
        found = self._codes.search(asked.astype(np.float32), num_candidates(k, len(self)))
        distances, positions = np.empty((len(rows), k)), np.empty((len(rows), k), np.int64)
        for at, proposed in enumerate(found):
            near = np.unique(proposed[proposed >= 0])
            if len(near) < k:  # too few lists were looked through
                distances[at : at + 1], positions[at : at + 1] = self._search_exactly(rows[at : at + 1], k)
                continue
            held = self.vectors(near)
            held = unit_rows(held) if cosine else held
            keys = self._metric.paired(np.repeat(asked[at : at + 1], len(held), axis=0), held)
            order = np.argsort(keys, kind="stable")[:k]
            distances[at], positions[at] = self._metric.distance(keys[order]), near[order]
        return distances, positions
