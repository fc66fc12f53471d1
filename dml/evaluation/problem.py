"""Lays queries and references out by class, so that a query's positives lie side by side; it computes no distance."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dml.errors import UserError
from dml.evaluation.samples import Samples
from dml.neighbors.exact import Operand, choose_center, prepare

Ints = NDArray[np.int64]


class Problem(NamedTuple):
    """Queries (Q) and references (R) in class order: classes with few references first, then by label, then by id.

    `starts` (classes + 1,) says where each class begins among the references, `self_at` (Q,) where a query stands
    itself (−1: nowhere), `positives` (Q,) how many others of its class there are.
    """

    query: Samples
    reference: Samples
    query_class: Ints
    reference_class: Ints
    starts: Ints
    self_at: Ints
    positives: Ints
    query_order: Ints
    reference_order: Ints
    center: NDArray[np.float64] | None

    def queries(self, low: int, high: int) -> Operand:
        """Return the prepared rows of the queries `low` to `high` in class order."""
        return prepare(self.query.embeddings[self.query_order[low:high]], self.center)

    def references(self, low: int, high: int) -> Operand:
        """Return the prepared rows of the references `low` to `high` in class order."""
        return prepare(self.reference.embeddings[self.reference_order[low:high]], self.center)


def lay_out(query: Samples, reference: Samples) -> Problem:
    """Order queries and references by class and find every query among the references by its id.

    Raises:
        UserError: Embeddings of different length, a sample with two labels, or no query with another member of its
            class.
    """
    if query.embeddings.shape[1] != reference.embeddings.shape[1]:
        raise UserError(
            f"query embeddings have {query.embeddings.shape[1]} numbers, reference embeddings "
            f"{reference.embeddings.shape[1]}: use the same encoder for both"
        )
    labels, codes = np.unique(np.concatenate([query.labels, reference.labels]), return_inverse=True)
    counts = np.bincount(codes[len(query.labels) :], minlength=len(labels))
    rank = np.empty(len(labels), dtype=np.int64)
    rank[np.lexsort((np.arange(len(labels)), counts))] = np.arange(len(labels))
    query_class, reference_class = rank[codes[: len(query.labels)]], rank[codes[len(query.labels) :]]
    query_order = np.lexsort((query.ids, query_class))
    reference_order = np.lexsort((reference.ids, reference_class))
    query_class, reference_class = query_class[query_order], reference_class[reference_order]
    self_at = _find(query.ids[query_order], reference.ids[reference_order])
    _check_labels(query, reference, query_order, reference_order, self_at)
    positives = np.sort(counts)[query_class] - (self_at >= 0)
    if not (positives > 0).any():
        raise UserError("no query has another sample of its class among the references: there is nothing to score")
    starts = np.concatenate([[0], np.cumsum(np.sort(counts))])
    center = choose_center(query.embeddings, reference.embeddings)
    return Problem(
        query, reference, query_class, reference_class, starts, self_at, positives, query_order, reference_order, center
    )


def _find(wanted: Ints, ids: Ints) -> Ints:
    order = np.argsort(ids)
    at = np.searchsorted(ids, wanted, sorter=order).clip(max=len(ids) - 1)
    return np.where(ids[order[at]] == wanted, order[at], -1)


def _check_labels(query: Samples, reference: Samples, query_order: Ints, reference_order: Ints, self_at: Ints) -> None:
    known = self_at >= 0
    mine = query.labels[query_order[known]]
    theirs = reference.labels[reference_order[self_at[known]]]
    if (mine != theirs).any():
        wrong = query.ids[query_order[known]][mine != theirs][0]
        raise UserError(f"sample {wrong} has one label as query and another as reference: check ids and labels")
