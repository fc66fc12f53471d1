"""Who is nearest to whom: hubs, images whose label looks wrong, and the record of it for reports."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dml import runs
from dml.embeddings import EmbeddingSet, drop_self
from dml.errors import UserError
from dml.neighbors import NeighborIndex
from dml.neighbors.ranking.groups import Groups, match_groups

Ints = NDArray[np.int64]
_AGREE = 0.8  # the share of neighbours on one other class that makes a label suspect


class Neighborhoods(NamedTuple):
    """The nearest references of every query, nearest first."""

    labels: Ints  # (Q,)
    ids: Ints  # (Q,)
    neighbor_labels: Ints  # (Q,k)
    neighbor_ids: Ints  # (Q,k)
    distances: NDArray[np.float64]  # (Q,k) in the metric searched
    num_references: int

    def take(self, rows: Ints | slice, k: int) -> "Neighborhoods":
        """Return the k nearest of some of the queries."""
        labels, ids = self.neighbor_labels[rows, :k], self.neighbor_ids[rows, :k]
        return Neighborhoods(
            self.labels[rows], self.ids[rows], labels, ids, self.distances[rows, :k], self.num_references
        )


class Suspects(NamedTuple):
    """Queries whose neighbours agree on another class, the surest first."""

    positions: Ints  # (n,) of the queries
    proposed: Ints  # (n,) the class the neighbours agree on
    shares: NDArray[np.float64]  # (n,) of the neighbours that do


def find_neighborhoods(
    query: EmbeddingSet, reference: EmbeddingSet, k: int, metric: str = "l2", groups: str = "any"
) -> Neighborhoods:
    """Search the k nearest references of every query; a query is not its own neighbour.

    Under a rule of groups, queries that it leaves no reference are not among the result.

    Args:
        query: The queries.
        reference: A reference with a query's id is that query.
        k: How many, ≥ 1; fewer where there are fewer references.
        metric: `l2` or `cosine`.
        groups: Which references a query is compared with, as in `retrieval_scores`.

    Example:
        >>> rows = EmbeddingSet([[0.0], [1.0], [5.0]], [0, 0, 1], ids=[7, 8, 9])
        >>> find_neighborhoods(rows, rows, 1).neighbor_ids[:, 0]
        array([8, 7, 8])
    """
    if (matched := match_groups(groups, query.groups, reference.groups)) is not None:
        return _find_compared(query, reference, k, metric, matched)
    shared = bool((reference.positions_of(query.ids) >= 0).any())
    k = min(k, len(reference) - shared)
    distances, found = NeighborIndex(metric).add(reference.embeddings).search(query.embeddings, k + shared)
    if shared:
        distances, found = (drop_self(table, found, query.ids, reference.ids) for table in (distances, found))
    return Neighborhoods(
        query.labels, query.ids, reference.labels[found], reference.ids[found], distances, len(reference)
    )


def _find_compared(query: EmbeddingSet, reference: EmbeddingSet, k: int, metric: str, groups: Groups) -> Neighborhoods:
    """Search group by group of the queries among the references these are compared with."""
    allowed = groups.allowed(query.labels, reference.labels, reference.positions_of(query.ids) >= 0).references
    compared = np.flatnonzero(allowed > 0)
    if not len(compared):
        raise UserError(f"groups '{groups.rule}' leaves no query a reference: choose another rule")
    query, k = query.take(compared), min(k, int(allowed[compared].min()))
    own = groups.query[compared]
    distances, found = np.empty((len(query), k)), np.empty((len(query), k), dtype=np.int64)
    for group in np.unique(own).tolist():
        rows, same = np.flatnonzero(own == group), groups.reference == group
        pool = np.flatnonzero({"same": same, "other": ~same}.get(groups.rule, np.ones_like(same)))
        of_class = np.unique(reference.labels[same], return_counts=True)[1].max(initial=0)
        more = {"same": 1, "other": 0}.get(groups.rule, int(of_class))  # that may have to be dropped
        index = NeighborIndex(metric).add(reference.embeddings[pool])
        near, at = index.search(query.embeddings[rows], min(k + more, len(pool)))
        at = pool[at]
        dropped = reference.ids[at] == query.ids[rows, None]
        if groups.rule == "cross":
            dropped |= same[at] & (reference.labels[at] == query.labels[rows, None])
        kept = np.argsort(dropped, axis=1, kind="stable")[:, :k]
        distances[rows], found[rows] = np.take_along_axis(near, kept, 1), np.take_along_axis(at, kept, 1)
    labels, ids = reference.labels[found], reference.ids[found]
    return Neighborhoods(query.labels, query.ids, labels, ids, distances, len(reference))


def occurrences(near: Neighborhoods, k: int = 10) -> Ints:
    """Return how often each reference (R,) is among the k nearest of a query; references never found count 0.

    Source: Radovanović, Nanopoulos, Ivanović, "Hubs in Space" (2010).

    Args:
        near: At least k neighbours a query, or as many as there are.
        k: Depth.

    Example:
        >>> near = Neighborhoods(*[np.zeros(2, int)] * 2, *[np.array([[4, 5], [4, 6]])] * 2, np.zeros((2, 2)), 3)
        >>> occurrences(near, k=1)
        array([2, 0, 0])
    """
    _, counts = np.unique(near.neighbor_ids[:, :k], return_counts=True)
    return np.concatenate([np.sort(counts)[::-1], np.zeros(near.num_references - len(counts), np.int64)])


def find_suspects(near: Neighborhoods, k: int = 10) -> Suspects:
    """Return the queries of whose k neighbours at least four fifths are of one other class.

    Such an image is labelled wrongly, shows two things, or the embedding fails on it: look at it.

    Args:
        near: At least k neighbours a query, or as many as there are.
        k: Neighbours asked.

    Example:
        >>> near = Neighborhoods(np.array([0, 1]), np.array([8, 9]), *[np.ones((2, 5), int)] * 2, np.zeros((2, 5)), 5)
        >>> find_suspects(near, k=5).positions
        array([0])
    """
    asked = near.neighbor_labels[:, :k]
    classes, codes = np.unique(asked, return_inverse=True)
    codes = codes.reshape(asked.shape)
    # the majority's class, by counting each neighbour's own class among the k
    votes = (codes[:, :, None] == codes[:, None, :]).sum(axis=2)
    best = votes.argmax(axis=1)
    rows = np.arange(len(asked))
    shares, proposed = votes[rows, best] / asked.shape[1], classes[codes[rows, best]]
    wrong = np.flatnonzero((shares >= _AGREE) & (proposed != near.labels))
    order = wrong[np.lexsort((near.distances[wrong, 0], -shares[wrong]))]
    return Suspects(order, proposed[order], shares[order])


def write_neighborhoods(path: Path, near: Neighborhoods, **more: Any) -> None:
    """Write neighbours, and arrays that go with them (names, votes, thumbnails), whole or not at all.

    Raises:
        UserError: The disk is full or the folder cannot be written.
    """
    runs.write_arrays(path, {name: _small(value) for name, value in near._asdict().items()} | more)


def read_neighborhoods(path: Path) -> tuple[Neighborhoods, dict[str, NDArray[Any]]]:
    """Read what `write_neighborhoods` wrote: the neighbours, and what goes with them by name.

    Raises:
        UserError: There is no such file, or it holds something else.

    Example:
        >>> import tempfile
        >>> near = Neighborhoods(*[np.array([3])] * 2, *[np.array([[4]])] * 2, np.array([[0.5]]), 9)
        >>> file = Path(tempfile.mkdtemp()) / "neighbors_val.npz"
        >>> write_neighborhoods(file, near, votes=5)
        >>> read_neighborhoods(file)[0].num_references
        9
    """
    arrays = runs.read_arrays(path)
    try:
        labels, ids, near_labels, near_ids = (arrays.pop(name).astype(np.int64) for name in Neighborhoods._fields[:4])
        distances, num_references = arrays.pop("distances").astype(np.float64), int(arrays.pop("num_references"))
        if not (
            labels.shape == ids.shape == near_ids.shape[:1] and near_labels.shape == near_ids.shape == distances.shape
        ):
            raise ValueError("the arrays do not fit")
        if not len(np.unique(near_ids)) <= num_references < 2**31:
            raise ValueError(f"{num_references} references")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path} holds no neighbours: write it with `dml evaluate --run {path.parent}`") from error
    return Neighborhoods(labels, ids, near_labels, near_ids, distances, num_references), arrays


def _small(value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype == np.float64:
        return array.astype(np.float32)
    fits = array.size == 0 or (array.min() >= -(2**31) and array.max() < 2**31)
    return array.astype(np.int32) if fits else array
