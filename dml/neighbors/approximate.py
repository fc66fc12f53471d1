"""Approximate indexes by FAISS factory string: IVF, HNSW, PQ, RaBitQ and combinations; for candidates."""

from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from dml.errors import UserError, reason_of
from dml.neighbors.index import load_faiss

Floats = NDArray[np.float32]
_LARGEST = 1 << 20  # clusters, or links of a node, that a factory string may ask for


@final
class ApproximateIndex:
    """A FAISS index of squared Euclidean distance over float32 rows (n,D), trained on a sample.

    Args:
        factory: As `faiss.index_factory` takes it: `IVF1024,Flat`, `HNSW32`, `PQ16`, `IVF1024,RaBitQ`.
        dim: D.

    Raises:
        UserError: FAISS does not know the string, or it does not fit D.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
        >>> index = ApproximateIndex("IVF4,Flat", 8).train(rows).add(rows)
        >>> index.search(rows[:2], 1).ravel()
        array([0, 1])
    """

    def __init__(self, factory: str, dim: int) -> None:
        self._faiss = load_faiss()
        self.factory = factory
        numbers = "".join(c if c.isdigit() else " " for c in factory).split()
        if not factory.isascii() or any(len(number) > 7 or int(number) > _LARGEST for number in numbers):
            raise UserError(f"factory {factory!r} asks for more than {_LARGEST:,} of something: give less")
        try:
            self._index = self._faiss.index_factory(dim, factory)
        except (RuntimeError, ValueError, TypeError) as error:
            raise UserError(f"FAISS makes no index of {factory!r} for {dim} numbers ({_reason(error)})") from error
        if type(self._index).__name__ in ("Index", "IndexIDMap", "IndexIDMap2"):
            raise UserError(f"factory {factory!r} numbers rows itself: leave IDMap out")

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def num_clusters(self) -> int:
        """Inverted lists, 0 where there are none."""
        ivf = self._ivf()
        return 0 if ivf is None else int(ivf.nlist)

    def train(self, sample: Floats) -> Self:
        """Learn clusters and codes from a sample (n,D).

        Raises:
            UserError: The sample is too small.
        """
        ivf = self._ivf()
        own = self._downcast()
        for part in (ivf, own, getattr(ivf, "pq", None), getattr(own, "pq", None)):
            if part is not None and hasattr(part, "cp"):
                part.cp.min_points_per_centroid = 1  # FAISS would warn of small samples on standard error
            if part is not None and hasattr(part, "do_polysemous_training"):
                part.do_polysemous_training = False  # takes seconds, for a filter that is never asked
        try:
            self._index.train(np.ascontiguousarray(sample, np.float32))
        except RuntimeError as error:
            told = f"{self.factory!r} cannot be trained on {len(sample)} images ({_reason(error)})"
            raise UserError(f"{told}: choose a smaller one, or Flat") from error
        return self

    def add(self, rows: Floats) -> Self:
        """Append rows (n,D)."""
        self._index.add(np.ascontiguousarray(rows, np.float32))
        return self

    def clear(self) -> None:
        """Forget the rows, keep what was learnt."""
        self._index.reset()

    @property
    def effort_name(self) -> str:
        """What a search can spend more of for better candidates: `nprobe`, `efSearch`, or "" for nothing."""
        if self._ivf() is not None:
            return "nprobe"
        return "efSearch" if hasattr(self._downcast(), "hnsw") else ""

    @property
    def effort(self) -> int:
        """How much of it is spent; kept in the codes."""
        found = self._ivf() if self.effort_name == "nprobe" else getattr(self._downcast(), "hnsw", None)
        return 0 if found is None else int(getattr(found, self.effort_name))

    @effort.setter
    def effort(self, value: int) -> None:
        found = self._ivf() if self.effort_name == "nprobe" else self._downcast().hnsw
        setattr(found, self.effort_name, value)

    def search(self, query: Floats, k: int) -> NDArray[np.int64]:
        """Return positions (Q,k) of candidates, nearest first as far as the codes tell; −1 where there are fewer."""
        _, found = self._index.search(np.ascontiguousarray(query, np.float32), k)
        return np.asarray(found, np.int64)

    def codes(self) -> NDArray[np.uint8]:
        """Return the index as bytes."""
        return np.asarray(self._faiss.serialize_index(self._index), np.uint8)

    @classmethod
    def of_codes(cls, factory: str, codes: NDArray[np.uint8], dim: int, count: int) -> "ApproximateIndex":
        """Return the index that `codes` gave.

        Raises:
            UserError: The bytes are not those of an index of `count` rows (n,D).
        """
        index = cls(factory, dim)
        kind = type(index._downcast())
        try:
            index._index = index._faiss.deserialize_index(np.array(codes))
        except (RuntimeError, ValueError, MemoryError) as error:
            raise UserError(f"the index {factory!r} is damaged ({_reason(error)}): make it again") from error
        if (index._index.d, len(index)) != (dim, count) or type(index._downcast()) is not kind:
            raise UserError(f"the index {factory!r} is not of these {count} images: make it again")
        return index

    def _ivf(self) -> Any:
        try:
            return self._faiss.extract_index_ivf(self._index)
        except RuntimeError:  # it has none
            return None

    def _downcast(self) -> Any:
        index = self._faiss.downcast_index(self._index)
        while hasattr(index, "chain"):  # a rotation before it
            index = self._faiss.downcast_index(index.index)
        return index


def _reason(error: BaseException) -> str:
    """Return what FAISS says without the place in its source."""
    text = reason_of(error)
    return text.rpartition("' failed: ")[2] or text.rpartition(": ")[2] or text
