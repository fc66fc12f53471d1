"""Answers which images of a store are most like others, and whether they are like any; needs no torch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from dml.embeddings import as_array, unit_rows
from dml.errors import UserError
from dml.search.artefact import INDEX, is_artefact
from dml.search.expansion import augment_rows, expand_queries
from dml.search.found import Found
from dml.search.local import LocalRows
from dml.search.remote.address import is_address
from dml.search.remote.searching import RemoteStore
from dml.search.reranking import Reranking, rerank
from dml.search.store import Store

Embed = Callable[[Sequence[str | Path]], NDArray[np.float32]]


class SearchedRows(Protocol):
    """What a searcher needs from the rows it searches, here or in a database; positions name rows."""

    def __len__(self) -> int: ...

    def search(self, rows: NDArray[Any], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return distances, ascending, and positions (Q,k) of the rows nearest to embeddings (Q,D)."""
        ...

    def vectors(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return rows (n,D)."""
        ...


@final
class Searcher:
    """Searches a store: call it with embeddings, or with images if it has an embedder.

    Args:
        store: What is searched: a file, or a store in a database.
        embedder: Turns image files into embeddings (Q,D); `RunEmbedder` does. None: queries are embeddings.
        max_memory: Bytes the rows may take in memory; larger files are searched block by block from the disk.
        augment: Move every row towards this many of its nearest (database augmentation), in memory; 0: none.
        alpha: How steeply the weights of neighbours fall, there and in query expansion.
        only: Positions (n,) of the rows of a file that are searched, exactly; None: all, by the store's structure.

    Raises:
        UserError: Augmented rows take more than `max_memory`, there are too few, or they are in a database.

    Example:
        >>> Searcher.load("no_such.npz")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no file no_such.npz: make it by `dml index` or `dml predict`, or give another
    """

    def __init__(
        self,
        store: Store | RemoteStore,
        embedder: Embed | None = None,
        max_memory: int = 1 << 30,
        augment: int = 0,
        alpha: float = 3.0,
        only: NDArray[np.int64] | None = None,
    ) -> None:
        self.store, self.embedder, self.alpha = store, embedder, alpha
        self._max_memory = max_memory
        self._cosine = store.about.metric == "cosine"
        self._only = only
        self._searched: SearchedRows
        if isinstance(store, RemoteStore):
            if augment or only is not None:
                raise UserError(f"{store.path} is not on this machine: its rows cannot be augmented; leave that out")
            self._searched = store
        else:
            local = LocalRows(store, max_memory, None if only is None else store.embeddings[only])
            self._searched = self._augment(store, local, augment) if augment else local

    @classmethod
    def load(
        cls,
        path: str | Path,
        embedder: Embed | None = None,
        max_memory: int = 1 << 30,
        augment: int = 0,
        alpha: float = 3.0,
    ) -> "Searcher":
        """Open a store, or the index and encoder of a `dml export` folder; other arguments as above.

        Args:
            path: A file, or the address of a store in a database: `postgresql://…`, `qdrant://…`.
            embedder: As above.
            max_memory: As above.
            augment: As above.
            alpha: As above.

        Raises:
            UserError: There is no such store, it cannot be reached, is damaged, or of another kind.
        """
        if is_artefact(path):
            from dml.search.onnx_embedder import OnnxEmbedder  # Pillow, only where images are embedded

            embedder = OnnxEmbedder(path) if embedder is None else embedder
            path = Path(path) / INDEX
        store = RemoteStore(str(path)) if is_address(str(path)) else Store(Path(path))
        return cls(store, embedder, max_memory, augment, alpha)

    def __len__(self) -> int:
        return len(self._searched)

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
            queries: Embeddings (Q,D), or image files if there is an embedder.
            k: How many.
            threshold: Distance beyond which an image is unknown; None: no image is.
            expand: Move queries towards this many of their nearest rows first (α-QE); 0: not at all.
            reranking: Order by k-reciprocal neighbours, with all queries together; distances are then those of the
                re-ranking. None: by the distance of the run.

        Raises:
            UserError: k is larger than the store, queries are not of its size, a threshold is given but distances
                are not those of the run, or a store in a database is to be re-ranked or cannot be reached.
        """
        rows = self._embed(queries)
        if not 1 <= k <= len(self):
            raise UserError(f"k={k} for an index of {len(self)} images: give k between 1 and {len(self)}")
        if threshold is not None and (expand or reranking is not None):
            raise UserError("a threshold is a distance of the run: give it without expansion and re-ranking")
        if reranking is not None and self._searched is self.store:
            raise UserError(f"{self.store.path} is not on this machine: it cannot be re-ranked; leave that out")
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
        return self._searched.search(rows, k)

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

    def _augment(self, store: Store, local: LocalRows, num_neighbours: int) -> LocalRows:
        if local.held.nbytes > self._max_memory:
            raise UserError(f"augmented rows take {local.held.nbytes:,} bytes: raise max_memory, or leave them out")
        if num_neighbours >= len(local):
            raise UserError(f"augment={num_neighbours} for an index of {len(local)} images: give less")
        self._searched = local
        rows = augment_rows(len(local), self._rows, local.search, num_neighbours, self.alpha, self._cosine)
        return LocalRows(store, self._max_memory, rows)

    def _rows(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return rows (n,D), of length one under `cosine`."""
        rows = np.asarray(self._searched.vectors(positions), dtype=np.float64)
        return unit_rows(rows) if self._cosine else rows

    def _squared(self, rows: NDArray[Any], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return squared Euclidean distances, of rows of length one under `cosine`, and positions."""
        distances, positions = self.search(rows, k)
        return 2 * distances if self._cosine else np.square(distances), positions
