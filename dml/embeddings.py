"""A set of embedded samples: one type from the encoder to scores, pictures, files and reports; needs no torch."""

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dml import runs
from dml.errors import UserError

if TYPE_CHECKING:
    import torch
    import torch.distributed as dist
    from torch import Tensor

Ints = NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class EmbeddingSet:
    """Embeddings with the labels and the identity of their samples, checked; every id occurs once.

    Args:
        embeddings: Numbers (N,D), an array or a tensor on any device; float64 is kept, everything else becomes float32.
        labels: Whole numbers (N,) of any value.
        ids: Whole numbers (N,) that name the samples: two sets share a sample if they share its id. None numbers
            them by position. Of samples with equal ids (the padding of a distributed sampler) the first is kept.
        names: (N,) a name per sample that a person can find it by; None: unnamed.
        class_names: The name of each label that is an index into them; empty: unnamed.
        what: What messages call these samples.
        groups: Whole numbers (N,): the camera, the sequence, the run a sample is from; None: not known.

    Raises:
        UserError: Wrong shape, no rows, counts that differ, NaN or infinite embeddings, labels or ids that are not
            whole numbers.

    Example:
        >>> kept = EmbeddingSet([[1.0], [2.0], [1.0]], [5, 6, 5], ids=[0, 1, 0])
        >>> len(kept), kept.labels
        (2, array([5, 6]))
    """

    embeddings: NDArray[Any]
    labels: Ints
    ids: Ints = None  # type: ignore[assignment]
    names: NDArray[np.str_] | None = None
    class_names: Sequence[str] = ()
    what: InitVar[str] = "query"
    groups: Ints | None = None

    def __post_init__(self, what: str) -> None:
        rows = as_array(self.embeddings)
        if rows.ndim != 2 or rows.shape[1] == 0:
            raise UserError(
                f"{what} embeddings have shape {rows.shape}: give one row per sample, (N,D) with D at least 1"
            )
        if not len(rows):
            raise UserError(f"the {what} set is empty: give at least one sample")
        if rows.dtype.kind not in "biuf":
            raise UserError(f"{what} embeddings are of type {rows.dtype}: give real numbers")
        if rows.dtype != np.float64:
            rows = rows.astype(np.float32, copy=False)
        _check_finite(rows, what)
        labels = _integers(self.labels, len(rows), f"{what} labels")
        ids = np.arange(len(rows)) if self.ids is None else _integers(self.ids, len(rows), f"{what} ids")
        names = None if self.names is None else np.asarray(self.names, dtype=np.str_)
        if names is not None and names.shape != ids.shape:
            raise UserError(f"{len(names)} {what} names for {len(rows)} embeddings: give one for each row")
        groups = None if self.groups is None else _integers(self.groups, len(rows), f"{what} groups")
        first = None if self.ids is None else _first_of_each(ids)
        if first is not None:
            groups = None if groups is None else groups[first]
            rows, labels, ids = rows[first], labels[first], ids[first]
            names = None if names is None else names[first]
        values = {"embeddings": rows, "labels": labels, "ids": ids, "names": names, "groups": groups}
        for name, value in (values | {"class_names": tuple(self.class_names)}).items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """D, the size of an embedding."""
        return int(self.embeddings.shape[1])

    def take(self, positions: Any) -> "EmbeddingSet":
        """Return the samples at these positions (an index array, a mask or a slice), each once.

        Example:
            >>> EmbeddingSet([[1.0], [2.0], [3.0]], [0, 1, 0]).take(slice(None, None, 2)).ids
            array([0, 2])
        """
        names, groups = (None if column is None else column[positions] for column in (self.names, self.groups))
        rows, labels, ids = self.embeddings[positions], self.labels[positions], self.ids[positions]
        return EmbeddingSet(rows, labels, ids, names, self.class_names, groups=groups)

    def spread_evenly(self, most: int) -> "EmbeddingSet":
        """Return at most so many samples, spread evenly over the samples in class order, so that every class is there.

        Example:
            >>> EmbeddingSet([[0.0]] * 6, [0, 1, 0, 1, 0, 1]).spread_evenly(2).labels
            array([0, 1])
        """
        return self.take(spread_positions(self.labels, most))

    def in_metric(self, metric: str) -> "EmbeddingSet":
        """Return the set whose Euclidean order is that of a metric: itself for `l2`, rows of length one for `cosine`.

        Raises:
            UserError: There is no such metric.

        Example:
            >>> EmbeddingSet([[3.0, 4.0]], [0]).in_metric("cosine").embeddings
            array([[0.6, 0.8]])
        """
        if metric not in ("l2", "cosine"):
            raise UserError(f"unknown metric {metric!r}: choose l2 or cosine")
        if metric == "l2":
            return self
        return replace(self, embeddings=unit_rows(self.embeddings))

    def positions_of(self, ids: Ints) -> Ints:
        """Return the positions of samples (n,) in this set by their ids, −1 for those that are not in it.

        Example:
            >>> EmbeddingSet([[1.0], [2.0]], [0, 1], ids=[7, 5]).positions_of(np.array([5, 6, 7]))
            array([ 1, -1,  0])
        """
        return find_ids(ids, self.ids)

    def equals(self, other: "EmbeddingSet") -> bool:
        """Tell whether both hold the same samples with the same embeddings, bit for bit."""
        pairs = ((self.embeddings, other.embeddings), (self.labels, other.labels), (self.ids, other.ids))
        return all(np.array_equal(left, right) for left, right in pairs)

    @classmethod
    def gather(
        cls,
        embeddings: "ArrayLike | Tensor",
        labels: "ArrayLike | Tensor",
        ids: "ArrayLike | Tensor",
        group: "dist.ProcessGroup | None" = None,
        device: "torch.device | str" = "cpu",
        class_names: Sequence[str] = (),
    ) -> "EmbeddingSet":
        """Return the samples of all processes, each once, in the order of their ids; the same on every process.

        Arrays travel as they are; nothing is pickled.

        Args:
            embeddings: This process's embeddings (n,D); n may differ between processes and may be 0.
            labels: Whole numbers (n,).
            ids: Whole numbers (n,) that name the samples across all processes.
            group: The processes; None: those that train together, or this one alone.
            device: Where the processes exchange tensors: `cpu` for gloo, the process's own GPU for NCCL.
            class_names: As in the set.

        Raises:
            UserError: Embeddings of different length, or what the constructor refuses, on any process.
        """
        rows, classes, names = (as_array(values) for values in (embeddings, labels, ids))
        rows = rows if rows.dtype == np.float64 else rows.astype(np.float32, copy=False)
        if rows.ndim != 2:
            rows = rows.reshape(len(rows), -1)
        rows, classes, names = _exchange(rows, classes, names, group, device)
        order = np.argsort(names, kind="stable")
        return cls(rows[order], classes[order], names[order], class_names=class_names)

    def save(self, path: Path) -> None:
        """Write an `.npz` archive of what the set holds, each array by its name; nothing is pickled.

        Raises:
            UserError: The disk is full or the folder cannot be written.
        """
        arrays = {"embeddings": self.embeddings, "labels": self.labels, "ids": self.ids}
        if self.names is not None:
            arrays["names"] = self.names
        if self.groups is not None:
            arrays["groups"] = self.groups
        runs.write_arrays(path, arrays | {"class_names": np.asarray(self.class_names, dtype=np.str_)})

    @classmethod
    def load(cls, path: Path) -> "EmbeddingSet":
        """Read what `save` wrote.

        Raises:
            UserError: There is no such file, or it does not hold embeddings with labels.

        Example:
            >>> import tempfile
            >>> file = Path(tempfile.mkdtemp()) / "embeddings.npz"
            >>> EmbeddingSet([[1.0]], [0], names=np.array(["rose.jpg"]), class_names=["rose"]).save(file)
            >>> EmbeddingSet.load(file).names
            array(['rose.jpg'], dtype='<U8')
        """
        arrays = runs.read_arrays(path)
        if missing := {"embeddings", "labels", "ids"} - arrays.keys():
            raise UserError(f"{path} holds no {min(missing)}: give a file written by `dml predict`")
        for key in ("names", "class_names"):
            texts = arrays.get(key, np.empty(0, np.str_))
            if texts.ndim != 1 or (texts.dtype.kind not in "US" and texts.size):
                raise UserError(f"{path} holds {key} that are not texts: give a file written by `dml predict`")
        names = [str(name) for name in arrays.get("class_names", ())]
        own = arrays["embeddings"], arrays["labels"], arrays["ids"], arrays.get("names"), names
        found = cls(*own, groups=arrays.get("groups"))
        if names and not 0 <= found.labels.min() <= found.labels.max() < len(names):
            told = f"labels {found.labels.min()} to {found.labels.max()}, but {len(names)} class names"
            raise UserError(f"{path} holds {told}: give a file written by `dml predict`")
        return found


def query_and_reference(
    query: "ArrayLike | Tensor",
    query_labels: "ArrayLike | Tensor",
    reference: "ArrayLike | Tensor | None" = None,
    reference_labels: "ArrayLike | Tensor | None" = None,
    query_ids: "ArrayLike | Tensor | None" = None,
    reference_ids: "ArrayLike | Tensor | None" = None,
    query_groups: "ArrayLike | Tensor | None" = None,
    reference_groups: "ArrayLike | Tensor | None" = None,
) -> tuple[EmbeddingSet, EmbeddingSet]:
    """Return queries and references as sets: the same one if no references are given, different samples if without ids.

    Raises:
        UserError: What `EmbeddingSet` refuses, or references without labels.

    Example:
        >>> query, reference = query_and_reference([[0.0]], [1], [[2.0]], [1])
        >>> query.ids, reference.ids  # no id in common
        (array([0]), array([-1]))
    """
    if reference is None:
        queries = EmbeddingSet(query, query_labels, query_ids, groups=query_groups)  # type: ignore[arg-type]
        return queries, queries
    if reference_labels is None:
        raise UserError("references have no labels: give reference_labels")
    queries = EmbeddingSet(query, query_labels, query_ids, groups=query_groups)  # type: ignore[arg-type]
    references = EmbeddingSet(
        reference,  # type: ignore[arg-type]
        reference_labels,  # type: ignore[arg-type]
        reference_ids,  # type: ignore[arg-type]
        what="reference",
        groups=reference_groups,  # type: ignore[arg-type]
    )
    if query_ids is None or reference_ids is None:  # strangers: no reference is a query
        queries = replace(queries, ids=np.arange(len(queries)))
        references = replace(references, ids=-1 - np.arange(len(references)))
    return queries, references


def spread_positions(labels: Ints, most: int) -> Ints:
    """Return at most so many positions, spread evenly over the samples in class order.

    Example:
        >>> spread_positions(np.array([1, 0, 1, 0]), 2)
        array([1, 2])
    """
    order = np.argsort(labels, kind="stable")
    return order[np.rint(np.linspace(0, len(order) - 1, min(most, len(order)))).astype(np.int64)]


def drop_self(table: NDArray[Any], found: Ints, query_ids: Ints, reference_ids: Ints) -> NDArray[Any]:
    """Drop each query's own entry from a table of its neighbours, or the last entry if it has none.

    Args:
        table: (Q,k+1), anything about the neighbours: distances, or the positions themselves.
        found: (Q,k+1), positions of the neighbours among the references.
        query_ids: (Q,).
        reference_ids: (R,).

    Returns:
        (Q,k).

    Example:
        >>> found = np.array([[0, 1], [1, 0]])
        >>> drop_self(found, found, query_ids=np.array([8, 4]), reference_ids=np.array([9, 8]))
        array([[0],
               [1]])
    """
    own = reference_ids[found] == query_ids[:, None]  # (Q,k+1)
    own[~own.any(axis=1), -1] = True  # a query that is not a reference, or that lies behind k equal ones
    return np.asarray(table[~own].reshape(len(found), found.shape[1] - 1))


def find_ids(wanted: Ints, ids: Ints) -> Ints:
    """Return the position of each wanted id (n,) among ids (m,), −1 where it is not among them.

    Example:
        >>> find_ids(np.array([3, 4]), np.array([9, 3]))
        array([ 1, -1])
    """
    order = np.argsort(ids)
    at = np.searchsorted(ids, wanted, sorter=order).clip(max=len(ids) - 1)
    return np.where(ids[order[at]] == wanted, order[at], -1)


def unit_rows(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows (n,D) of length one, computed in float64; a row of zeros stays as it is.

    Example:
        >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
        array([[0.6, 0.8],
               [0. , 0. ]])
    """
    norms = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1, keepdims=True))
    return np.asarray(np.divide(rows, norms, out=rows.astype(np.float64), where=norms > 0), dtype=rows.dtype)


def as_array(values: Any) -> NDArray[Any]:
    """Return a tensor of any device, or anything else NumPy takes, as an array; half precision becomes float32.

    Example:
        >>> as_array([1, 2])
        array([1, 2])
    """
    if hasattr(values, "detach"):  # a tensor; torch is not imported to find out
        values = values.detach().cpu()
        values = values.float() if values.element_size() == 2 and values.is_floating_point() else values
    return np.asarray(values)


def _exchange(
    rows: NDArray[Any], labels: NDArray[Any], ids: NDArray[Any], group: Any, device: Any
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the rows of all processes, in the order of their ranks."""
    import torch

    from dml.functional.distributed import gather_rows, world_size

    if world_size(group) == 1:
        return rows, labels, ids
    header = gather_rows(torch.tensor([[len(rows), rows.shape[1], rows.dtype == np.float64]], device=device), group)
    dims = {int(dim) for count, dim, _ in header.tolist() if count}
    if len(dims) > 1:
        raise UserError(f"processes give embeddings of different sizes: {', '.join(map(str, sorted(dims)))}")
    if not len(rows):  # a process without samples does not know their size
        rows = rows.reshape(0, max(dims, default=1))
    rows = rows.astype(np.float64 if bool(header[:, 2].any()) else np.float32)
    columns = (torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in (rows, labels, ids))
    gathered = [gather_rows(column, group).cpu().numpy() for column in columns]
    return gathered[0], gathered[1], gathered[2]


def _first_of_each(ids: Ints) -> Ints | None:
    """Return the positions of the first of each id, in order; None where all differ."""
    unique, first = np.unique(ids, return_index=True)
    return None if len(unique) == len(ids) else np.sort(first)


def _check_finite(rows: NDArray[Any], what: str) -> None:
    step = max(1, (1 << 20) // rows.shape[1])
    most = np.finfo(np.float32).max  # beyond it distances are infinite
    bad = [i + np.flatnonzero(~(np.abs(rows[i : i + step]) <= most).all(axis=1)) for i in range(0, len(rows), step)]
    wrong = np.concatenate(bad)
    if len(wrong):
        raise UserError(
            f"{len(wrong)} of {len(rows)} {what} embeddings hold NaN or infinity, the first in row {wrong[0]}: "
            "look at the encoder or the learning rate"
        )


def _integers(values: Any, count: int, name: str) -> Ints:
    numbers = as_array(values)
    if numbers.ndim != 1 or len(numbers) != count:
        raise UserError(f"{name} have shape {numbers.shape} for {count} embeddings: give one for each row")
    whole = numbers.astype(np.int64) if numbers.dtype.kind in "biuf" and np.isfinite(numbers).all() else None
    if whole is None or not (whole == numbers).all():
        raise UserError(f"{name} are not whole numbers: number the classes, for instance with numpy.unique")
    return whole
