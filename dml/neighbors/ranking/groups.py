"""Which references a query is compared with, if samples belong to groups: a camera, a sequence, a run."""

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from dml.errors import UserError

Ints = NDArray[np.int64]
GroupRule = Literal["any", "same", "other", "cross"]
GROUP_RULES: tuple[GroupRule, ...] = get_args(GroupRule)


class Allowed(NamedTuple):
    """Numbers of references that each query (Q,) is compared with."""

    positives: Ints  # of its class
    references: Ints  # of all classes


class Groups(NamedTuple):
    """Groups of queries and references, and who is compared with whom.

    `any`: groups don't matter. `same`: a query is compared with references of its own group only (one-shot runs).
    `other`: references of its group are left out. `cross`: those of its group and class are left out, those of its
    group and other classes stay (re-identification across cameras).
    """

    rule: GroupRule
    query: Ints  # (Q,), in class order
    reference: Ints  # (R,)

    def excluded(
        self, query_class: Ints, reference_class: Ints, queries: slice, references: slice
    ) -> NDArray[np.bool_]:
        """Return which references of a tile no query of it is compared with, (B,T)."""
        same: NDArray[np.bool_] = self.query[queries, None] == self.reference[references]
        if self.rule == "same":
            return ~same
        if self.rule == "cross":
            same &= query_class[queries, None] == reference_class[references]
        return same

    def allowed(self, query_class: Ints, reference_class: Ints, own: NDArray[np.bool_]) -> Allowed:
        """Return how many references each query is compared with, itself not counted.

        Args:
            query_class: (Q,).
            reference_class: (R,).
            own: Whether the query itself is among the references, (Q,).

        Example:
            >>> groups = Groups("same", np.array([0]), np.array([0, 0, 1]))
            >>> groups.allowed(np.array([5]), np.array([5, 6, 5]), np.array([False]))
            Allowed(positives=array([1]), references=array([2]))
        """
        of_class = _occurrences(query_class, reference_class)
        of_group = _occurrences(self.query, self.reference)
        pairs = np.stack([np.concatenate([query_class, reference_class]), np.concatenate([self.query, self.reference])])
        codes = np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1)
        of_both = _occurrences(codes[: len(query_class)], codes[len(query_class) :])
        everything = len(reference_class)
        if self.rule == "same":
            return Allowed(of_both - own, of_group - own)
        return Allowed(of_class - of_both, everything - (of_group if self.rule == "other" else of_both))


def match_groups(rule: str, query: Ints | None, reference: Ints | None) -> Groups | None:
    """Return the groups a rule needs, None where every reference is compared.

    Raises:
        UserError: The rule is unknown, or samples have no groups.

    Example:
        >>> match_groups("same", None, None)
        Traceback (most recent call last):
        ...
        dml.errors.UserError: groups 'same' needs samples with groups: a manifest's column `group`, or a source ...
    """
    if rule not in GROUP_RULES:
        raise UserError(f"no groups {rule!r}: choose one of {', '.join(GROUP_RULES)}")
    if rule == "any":
        return None
    if query is None or reference is None:
        told = "a manifest's column `group`, or a source that has them"
        raise UserError(f"groups {rule!r} needs samples with groups: {told}")
    return Groups(rule, query, reference)


def _occurrences(wanted: Ints, values: Ints) -> Ints:
    """Return how often each wanted value (n,) is among values (m,)."""
    ordered = np.sort(values)
    return np.searchsorted(ordered, wanted, side="right") - np.searchsorted(ordered, wanted)
