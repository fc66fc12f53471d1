"""The neighbour index: exact nearest rows by whichever backend is fastest; the only file that imports faiss."""

import functools
import importlib.util
import sys
from typing import Any, Literal, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dml.embeddings import unit_rows
from dml.errors import UserError
from dml.neighbors.distances import ExactKeys, Keys, Metric, MetricName, error_bound, get_metric, row_sizes
from dml.neighbors.exact import Rows, choose_center
from dml.ranges import whole_number

Backend = Literal["faiss", "torch"]
Positions = NDArray[np.int64]
_SPARE = 16  # candidates beyond k, so that the border of the k nearest can be certified
_WIDEST = 2048  # more candidates than this: compare with every row instead
_FEW = 1 << 22  # numbers compared
_CHUNK = 1 << 18  # numbers held at once while refining: in cache


@final
class NeighborIndex:
    """An exact index of rows: candidates by a float32 search, refined by differences, certified by an error bound.

    Neighbours are ordered by their float64 distance, equal distances by position, so every backend returns the same
    ones.

    Args:
        metric: `l1`, `l2` (Euclidean), `linf` or `cosine` (one minus the cosine; a row of
            zeros, which has no direction, is .5 from every other).
        backend: `faiss`, `torch`, or `auto` for the fastest exact one; `index.backend` says which it is.
        device: Where to search, e.g. `cuda`; None is the CPU. FAISS needs its GPU build for `cuda`.

    Raises:
        UserError: Unknown metric or backend, or FAISS asked for but not installed, or not for this device.

    Example:
        >>> distances, positions = NeighborIndex("l2").add([[0.0, 0.0], [3.0, 4.0]]).search([[0.0, 1.0]], k=2)
        >>> positions
        array([[0, 1]])
    """

    def __init__(self, metric: str = "l2", backend: str = "auto", device: str | None = None) -> None:
        self.metric: Metric = get_metric(metric)
        self.device = device or "cpu"
        self.backend: Backend = _choose_backend(self.metric.name, backend, self.device)
        self._rows: Rows | None = None
        self._center: NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        chosen = f"metric={self.metric.name!r}, backend={self.backend!r}, device={self.device!r}"
        return f"NeighborIndex({chosen}) of {len(self)} rows"

    def __len__(self) -> int:
        return 0 if self._rows is None else len(self._rows)

    def add(self, x: ArrayLike) -> Self:
        """Append rows (n,D); float64 is compared in float64, everything else as float32.

        Raises:
            UserError: Not a table of finite numbers, or rows of another length than before.
        """
        rows = self._check(x)
        self._rows = rows if self._rows is None else np.concatenate([self._rows, rows])
        self._center = choose_center(self._rows).mean if self.metric.name == "l2" else None
        self._searched = self._shift(self._rows)
        self._size = float(row_sizes(self.metric.name, self._searched).max())
        return self

    def search(self, q: ArrayLike, k: int) -> tuple[ExactKeys, Positions]:
        """Return distances (Q,k), ascending, and positions (Q,k) of the k nearest rows.

        Raises:
            UserError: Empty index, k out of range, rows of another length than the index's.
        """
        if self._rows is None:
            raise UserError("the index is empty: add rows before searching")
        query, k = self._check(q), whole_number("k", k)
        if not 1 <= k <= len(self._rows):
            raise UserError(f"k={k} for an index of {len(self._rows)} rows: give k between 1 and {len(self._rows)}")
        keys = np.empty((len(query), k))
        positions = np.empty((len(query), k), dtype=np.int64)
        todo, wide = np.arange(len(query)), k + _SPARE
        if len(query) * self._rows.size <= _FEW and self.backend == "faiss" and "faiss" not in sys.modules:
            wide = _WIDEST + k  # NumPy is through before FAISS is loaded
        while len(todo):
            if wide >= min(len(self._rows), max(_WIDEST, k + _SPARE + 1)):
                keys[todo], positions[todo] = self._compare_all(query[todo], k)
                break
            keys[todo], positions[todo], certain = self._refine(query[todo], k, wide)
            todo, wide = todo[~certain], 4 * wide
        return self.metric.distance(keys), positions

    def _refine(self, query: Rows, k: int, wide: int) -> tuple[ExactKeys, Positions, NDArray[np.bool_]]:
        """Return exact keys and positions (Q,k) from `wide` candidates, and which queries are certain."""
        assert self._rows is not None
        searched = self._shift(query)
        rough, found = self._candidates(searched, wide)
        error = error_bound(self.metric.name, searched, self._size, rough[:, -1])
        row, place = np.nonzero(rough <= rough[:, k - 1, None] + 2 * error[:, None])  # the others cannot be among the k
        exact = np.full(rough.shape, np.inf)
        step = max(1, _CHUNK // query.shape[1])
        for start in range(0, len(row), step):
            i, j = row[start : start + step], place[start : start + step]
            exact[i, j] = self.metric.paired(query[i], self._rows[found[i, j]])
        order = np.lexsort((found, exact), axis=1)[:, :k]
        exact, found = np.take_along_axis(exact, order, 1), np.take_along_axis(found, order, 1)
        return exact, found, exact[:, -1] < rough[:, -1] - error

    def _compare_all(self, query: Rows, k: int) -> tuple[ExactKeys, Positions]:
        assert self._rows is not None
        keys = np.empty((len(query), k))
        positions = np.empty((len(query), k), dtype=np.int64)
        step = max(1, 16 * _CHUNK // len(self._rows))
        for start in range(0, len(query), step):
            table = self.metric.table(query[start : start + step], self._rows)
            for i, row in enumerate(table, start):
                near = np.flatnonzero(row <= np.partition(row, k - 1)[k - 1])
                exact = self.metric.paired(query[np.full(len(near), i)], self._rows[near])
                order = np.argsort(exact, kind="stable")[:k]
                keys[i], positions[i] = exact[order], near[order]
        return keys, positions

    def _candidates(self, query: Keys, k: int) -> tuple[Keys, Positions]:
        if self.backend == "torch":
            from dml.neighbors.torch_search import search_tiles  # torch only where it is used

            return search_tiles(query, self._searched, k, self.metric.name, self.device)
        return _search_faiss(query, self._searched, k, self.metric.name, self.device)

    def _check(self, x: ArrayLike) -> Rows:
        given = np.asarray(x)
        rows: Rows = np.asarray(given, dtype=np.float64 if given.dtype == np.float64 else np.float32)
        if rows.ndim != 2 or rows.shape[1] == 0 or not len(rows):
            raise UserError(f"rows have shape {rows.shape}: give a table (n,D) with at least one row and column")
        if self._rows is not None and rows.shape[1] != self._rows.shape[1]:
            raise UserError(f"rows have {rows.shape[1]} numbers, those of the index {self._rows.shape[1]}")
        wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(wrong):
            raise UserError(f"{len(wrong)} of {len(rows)} rows hold NaN or infinity, the first is row {wrong[0]}")
        longest = float(np.abs(rows).max()) * rows.shape[1] ** 0.5
        if self.metric.name == "l2" and not longest < (float(np.finfo(np.float32).max) / 8) ** 0.5:
            raise UserError(f"rows are too large (up to {longest:.1e} long): squared distances overflow float32")
        return unit_rows(rows) if self.metric.name == "cosine" else rows

    def _shift(self, rows: Rows) -> NDArray[np.float32]:
        """Return float32 rows to search: centred under l2, which changes no distance but makes products more exact."""
        moved = rows if self._center is None else rows - self._center
        return np.ascontiguousarray(moved, dtype=np.float32)


def _choose_backend(metric: MetricName, backend: str, device: str) -> Backend:
    installed = importlib.util.find_spec("faiss") is not None
    if backend == "auto":
        # FAISS searches Linf without vector instructions, and only a GPU build of it knows CUDA
        return "faiss" if installed and metric != "linf" and device == "cpu" else "torch"
    if backend == "faiss":
        if not installed:
            raise UserError("backend 'faiss' needs the package faiss-cpu: install it or choose backend 'torch'")
        if device != "cpu":
            _need_gpu_build(device)
        return "faiss"
    if backend != "torch":
        raise UserError(f"unknown backend {backend!r}: choose auto, faiss or torch")
    return "torch"


def load_faiss() -> Any:
    """Return the module faiss.

    Raises:
        UserError: It is not installed.
    """
    _choose_backend("l2", "faiss", "cpu")
    import faiss

    return faiss


def search_nearest(query: Keys, reference: Keys, k: int, device: str) -> tuple[Keys, Positions]:
    """Return rough squared distances and positions (Q,k) of the nearest references; `error_bound` says how rough.

    FAISS searches where it is installed, on a GPU with its GPU build; torch otherwise. On the CPU one thread searches:
    the caller shares out the queries.

    Args:
        query: (Q,D).
        reference: (R,D), R ≥ k.
        k: Number of neighbours.
        device: `cpu`, or a torch device.

    Example:
        >>> rows = np.array([[2.0], [1.0]], dtype=np.float32)
        >>> search_nearest(np.zeros((1, 1), dtype=np.float32), rows, 1, "cpu")[1]
        array([[1]])
    """
    if importlib.util.find_spec("faiss") is not None:
        import faiss

        if device == "cpu" or (device.startswith("cuda") and hasattr(faiss, "StandardGpuResources")):
            threads = faiss.omp_get_max_threads()  # of this thread, not of the process
            usual = _usual_threshold()
            faiss.omp_set_num_threads(1)
            faiss.cvar.distance_compute_blas_threshold = 0  # pair by pair, few queries take five times as long
            try:
                return _search_faiss(query, reference, k, "l2", device)
            finally:
                faiss.omp_set_num_threads(threads)
                faiss.cvar.distance_compute_blas_threshold = usual
    from dml.neighbors.torch_search import search_tiles

    return search_tiles(query, reference, k, "l2", device)


@functools.cache
def _usual_threshold() -> int:
    """Return from which size on FAISS searches by products; asked once, since threads that search at once change it."""
    import faiss

    return int(faiss.cvar.distance_compute_blas_threshold)


def _need_gpu_build(device: str) -> None:
    import faiss

    if not hasattr(faiss, "StandardGpuResources"):
        raise UserError(f"this FAISS searches on the CPU alone: install its GPU build for {device}, or choose 'torch'")


def _search_faiss(query: Keys, reference: Keys, k: int, metric: MetricName, device: str) -> tuple[Keys, Positions]:
    import faiss

    kinds: dict[str, Any] = {"l1": faiss.METRIC_L1, "linf": faiss.METRIC_Linf}
    arrays = np.asarray(query), np.asarray(reference)  # an unpickled index may hold a memmap, which faiss may refuse
    kind = kinds.get(metric, faiss.METRIC_L2)
    if device == "cpu":
        keys, positions = faiss.knn(*arrays, k, metric=kind)
    else:
        gpu = int(device.partition(":")[2] or 0)
        keys, positions = faiss.knn_gpu(faiss.StandardGpuResources(), *arrays, k, metric=kind, device=gpu)
    return keys, positions.astype(np.int64, copy=False)
