"""Which retrieval scores are wanted, and how much of the ranking they need."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from torch import Tensor

from dml.errors import UserError
from dml.functional import retrieval
from dml.functional.retrieval import Ranks

_BY_RANKS: dict[str, Callable[[Ranks], Tensor]] = {
    "r_precision": retrieval.r_precision,
    "map_at_r": retrieval.map_at_r,
    "map": retrieval.average_precision,
    "mrr": retrieval.reciprocal_rank,
    "ndcg": retrieval.ndcg,
}
_WHOLE = {"map", "mrr", "ndcg"}  # the whole ranking
_AT_R = {"r_precision", "map_at_r"}  # as many references as there are of the query's class


class Wanted(NamedTuple):
    """Scores in the order of their columns."""

    names: tuple[str, ...]  # but those of votes
    voters: tuple[int, ...]  # the k of the votes, () for none

    @property
    def columns(self) -> list[str]:
        """The names of all columns: a vote's score, and with several votes each one's."""
        several = [f"knn_accuracy_at_{k}" for k in self.voters] if len(self.voters) > 1 else []
        return [*self.names, *(["knn_accuracy"] if self.voters else []), *several]

    def nearest(self, most_positives: int) -> int | None:
        """Return how many of the nearest references all scores need; None: the whole ranking.

        Args:
            most_positives: The largest number of references of a query's class.

        Example:
            >>> want(["recall_at_5", "knn_accuracy"], ks=(1, 5), knn_ks=(7,)).nearest(100)
            7
            >>> want(["map_at_r"], ks=(1, 5), knn_ks=(7,)).nearest(100)
            100
        """
        if _WHOLE & set(self.names):
            return None
        numbered = [int(name.rpartition("_")[2]) for name in self.names if name not in _BY_RANKS]
        at_r = [most_positives] if _AT_R & set(self.names) else []
        return max([1, *numbered, *self.voters, *at_r])


def score_names(ks: Sequence[int], knn_ks: Sequence[int]) -> list[str]:
    """Return the names of all scores there are, in their order.

    Example:
        >>> score_names(ks=(1,), knn_ks=(5,))
        ['recall_at_1', 'precision_at_1', 'r_precision', 'map_at_r', 'map', 'mrr', 'ndcg', 'knn_accuracy']
    """
    names = [*(f"recall_at_{k}" for k in ks), *(f"precision_at_{k}" for k in ks), *_BY_RANKS]
    return [*names, *Wanted((), tuple(knn_ks)).columns]


def want(scores: Sequence[str] | None, ks: Sequence[int], knn_ks: Sequence[int], key: str = "scores") -> Wanted:
    """Return the wanted scores in their order.

    Args:
        scores: Their names, see `score_names`; None: all.
        ks: The k of recall and precision.
        knn_ks: The k of the vote.
        key: What messages call the argument.

    Raises:
        UserError: There is no such score, or none is named.

    Example:
        >>> want(["maps"], ks=(1,), knn_ks=(5,))
        Traceback (most recent call last):
        ...
        dml.errors.UserError: scores: there is no 'maps': did you mean map?
    """
    known = score_names(ks, knn_ks)
    wanted = known if scores is None else list(scores)
    if not wanted:
        raise UserError(f"{key} is empty: name at least one of {', '.join(known)}")
    for name in wanted:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            mend = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"
            raise UserError(f"{key}: there is no {name!r}: {mend}")
    votes = any(name.startswith("knn_accuracy") for name in wanted)
    names = tuple(name for name in known if name in wanted and not name.startswith("knn_accuracy"))
    return Wanted(names, tuple(knn_ks) if votes else ())


def score_ranks(ranks: Ranks, names: Sequence[str]) -> list[Tensor]:
    """Return the named scores of B queries by the ranks of their positives, each (B,).

    Example:
        >>> import torch
        >>> one = torch.ones(1, 1, dtype=torch.int64)
        >>> score_ranks(Ranks(one, one, one - 1, one, one[0]), ["mrr", "recall_at_1"])
        [tensor([0.5000], dtype=torch.float64), tensor([0.], dtype=torch.float64)]
    """
    found = []
    for name in names:
        kind, _, k = name.rpartition("_at_")
        if name in _BY_RANKS:
            found.append(_BY_RANKS[name](ranks))
        else:
            found.append((retrieval.recall_at_k if kind == "recall" else retrieval.precision_at_k)(ranks, int(k)))
    return found
