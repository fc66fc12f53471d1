"""Queries and references laid out by class, so that the positives of a query lie side by side."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dml.embeddings import EmbeddingSet, find_ids
from dml.errors import UserError
from dml.neighbors.exact import Center, Operand, choose_center, largest_length, prepare_query, prepare_reference
from dml.neighbors.ranking.groups import Allowed, Groups, match_groups

Ints = NDArray[np.int64]


class Layout(NamedTuple):
    """Queries (Q) and references (R) in class order: classes with few references first, then by label, then by id."""

    query_order: Ints  # (Q,): position of each query in its samples
    reference_order: Ints  # (R,)
    query_class: Ints  # (Q,)
    reference_class: Ints  # (R,)
    starts: Ints  # (classes + 1,): where each class begins among the references
    self_at: Ints  # (Q,): where the query itself stands among the references, −1 for nowhere
    positives: Ints  # (Q,): how many others of its class it is compared with
    candidates: Ints  # (Q,): how many others of any class
    labels: Ints  # (classes,): the label of each class
    groups: Groups | None  # who is compared with whom; None: with all


class RankingTask:
    """Samples, their layout, and their rows ready for matrix products, optionally kept for the next tile.

    Args:
        query: The queries.
        reference: The references, ids shared with the queries where they are the same samples.
        groups: Which of them a query is compared with, see `Groups`.

    Raises:
        UserError: Embeddings of different length or too large, a sample with two labels, or nothing to score.
    """

    def __init__(self, query: EmbeddingSet, reference: EmbeddingSet, groups: str = "any") -> None:
        if query.embeddings.shape[1] != reference.embeddings.shape[1]:
            raise UserError(
                f"query embeddings have {query.embeddings.shape[1]} numbers, reference embeddings "
                f"{reference.embeddings.shape[1]}: use the same encoder for both"
            )
        self.query, self.reference = query, reference
        self.layout = lay_out(query, reference, groups)
        self._center: Center = choose_center(query.embeddings, reference.embeddings)
        self._kept: dict[str, Operand] = {}
        self.longest = self._longest()
        if not 8 * self.longest**2 < float(np.finfo(np.float32).max):
            raise UserError(
                f"embeddings are too large (up to {self.longest:.1e} from their mean): squared distances overflow "
                "float32; scale them down, or lower the learning rate of what diverged"
            )

    def queries(self, low: int, high: int, dtype: DTypeLike) -> Operand:
        """Return the queries `low` to `high` in class order, ready for products."""
        return prepare_query(self.query.embeddings[self.layout.query_order[low:high]], self._center, dtype)

    def references(self, low: int, high: int, dtype: DTypeLike) -> Operand:
        """Return the references `low` to `high` in class order, ready for products."""
        kept = self._kept.get(np.dtype(dtype).name)
        if kept is not None:
            return kept.part(low, high)
        return prepare_reference(self.reference.embeddings[self.layout.reference_order[low:high]], self._center, dtype)

    def centred_queries(self, low: int, high: int, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Return the queries `low` to `high` in class order (n,D), to search with: centred, which moves no distance."""
        rows = self.query.embeddings[self.layout.query_order[low:high]]
        return np.ascontiguousarray(rows - self._center.mean, dtype=dtype)

    def centred_references(self, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Return all references in class order (R,D), to be searched: centred likewise."""
        rows = np.empty(self.reference.embeddings.shape, dtype=dtype)
        step = 1 << 14
        for start in range(0, len(rows), step):
            order = self.layout.reference_order[start : start + step]
            rows[start : start + step] = self.reference.embeddings[order] - self._center.mean
        return rows

    def excluded(self, low: int, high: int, start: int, stop: int) -> NDArray[np.bool_] | None:
        """Return which of a tile's references its queries are not compared with, (B,T); None: with all."""
        layout = self.layout
        if layout.groups is None:
            return None
        return layout.groups.excluded(layout.query_class, layout.reference_class, slice(low, high), slice(start, stop))

    def hide_excluded(self, tile: NDArray[np.float32], low: int, high: int, start: int, stop: int) -> None:
        """Put the references of a tile (B,T) that its queries are not compared with at infinity."""
        if (excluded := self.excluded(low, high, start, stop)) is not None:
            tile[excluded] = np.inf

    def _longest(self) -> float:
        rows, step = self.reference.embeddings, 256
        return max(largest_length(rows[i : i + step], self._center) for i in range(0, len(rows), step))

    def keep(self, dtype: DTypeLike) -> None:
        """Prepare all references once: R·(2D + 2) numbers of memory for less work per tile."""
        self._kept[np.dtype(dtype).name] = self.references(0, len(self.layout.reference_order), dtype)


def lay_out(query: EmbeddingSet, reference: EmbeddingSet, rule: str = "any") -> Layout:
    """Order queries and references by class and find every query among the references by its id.

    Raises:
        UserError: A sample with two labels or groups, or no query with another member of its class.
    """
    labels, codes = np.unique(np.concatenate([query.labels, reference.labels]), return_inverse=True)
    counts = np.bincount(codes[len(query.labels) :], minlength=len(labels))
    rank = np.empty(len(labels), dtype=np.int64)
    rank[np.lexsort((np.arange(len(labels)), counts))] = np.arange(len(labels))
    query_class, reference_class = rank[codes[: len(query.labels)]], rank[codes[len(query.labels) :]]
    query_order = np.lexsort((query.ids, query_class))
    reference_order = np.lexsort((reference.ids, reference_class))
    query_class, reference_class = query_class[query_order], reference_class[reference_order]
    self_at = find_ids(query.ids[query_order], reference.ids[reference_order])
    _check_same(query.ids[query_order], query_class, reference_class, self_at, "label")
    groups = match_groups(rule, query.groups, reference.groups)
    if groups is None:
        own = self_at >= 0
        allowed = Allowed(np.sort(counts)[query_class] - own, len(reference) - own.astype(np.int64))
    else:
        groups = groups._replace(query=groups.query[query_order], reference=groups.reference[reference_order])
        _check_same(query.ids[query_order], groups.query, groups.reference, self_at, "group")
        allowed = groups.allowed(query_class, reference_class, self_at >= 0)
    if not (allowed.positives > 0).any():
        where = "the references" if groups is None else f"the references that groups '{rule}' leaves it"
        raise UserError(f"no query has another sample of its class among {where}: there is nothing to score")
    starts = np.concatenate([[0], np.cumsum(np.sort(counts))])
    named = labels[np.argsort(rank)]
    orders = query_order, reference_order, query_class, reference_class
    return Layout(*orders, starts, self_at, *allowed, named, groups)


def _check_same(ids: Ints, query: Ints, reference: Ints, self_at: Ints, what: str) -> None:
    known = self_at >= 0
    wrong = query[known] != reference[self_at[known]]
    if wrong.any():
        sample = ids[known][wrong][0]
        raise UserError(f"sample {sample} has one {what} as query and another as reference: check the ids")
