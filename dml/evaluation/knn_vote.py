"""The chances that the k nearest references vote for a query's own class, and for any other.

Equal distances at the border of the k nearest are drawn in random order, and classes with equally many votes win
equally often. Both expectations are exact.
"""

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from math import comb
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from dml.functional.distributed import gather_rows
from dml.neighbors.ranking.layout import Ints
from dml.neighbors.ranking.nearest import Candidates

Floats = NDArray[np.float64]
_UNIT = 2.0**40
_KINDS = 8  # of classes in a tie, as told by their votes
OpenVote = tuple[int, Mapping[int, int], Mapping[int, int]]  # (query, certain votes, tied references) by class
Tie = tuple[int, int, int]  # (certain votes, tied references, how many classes are like this)


class Votes(NamedTuple):
    """The chance that the vote of query `row` goes to class `code`: flat arrays; what is not listed has none."""

    row: Ints
    code: Ints
    chance: Floats

    def of(self, own: Ints) -> Floats:
        """Return the chance (B,) of each query's class `own` (B,)."""
        result = np.zeros(len(own))
        mine = self.code == own[self.row]
        result[self.row[mine]] = self.chance[mine]
        return result


def own_class_chances(own: Ints, near: Candidates, k: int) -> Floats:
    """Return the chance (B,) that the class of each query, `own` (B,), wins the vote of its k nearest references."""
    plain, ties = _count(near, k)
    result = plain.of(own)
    for row, certain, tied in ties:
        result[row] = chance_of_class(int(own[row]), certain, tied, k)
    return result


def vote_chances(own: Ints, near: Candidates, k: int) -> Votes:
    """Return the chances of all classes to win the vote of the k nearest references of each query.

    Where a tie goes over the border of the k nearest and more than eight kinds of classes take part, the own class's
    chance is exact and the rest is shared by the others as they share the references.

    Args:
        own: The class (B,) of each query.
        near: At least its k nearest references.
        k: Number of voters.
    """
    plain, ties = _count(near, k)
    parts = [plain]
    for row, certain, tied in ties:
        alike: dict[tuple[int, int], list[int]] = {}
        for c in {*certain, *tied}:
            alike.setdefault((certain.get(c, 0), tied.get(c, 0)), []).append(c)
        if len(alike) <= _KINDS:  # equal votes, equal chances
            exact = {votes: chance_of_class(same[0], certain, tied, k) for votes, same in alike.items()}
            shares = {c: exact[votes] for votes, same in alike.items() for c in same}
        else:
            mine = int(own[row])
            chance = chance_of_class(mine, certain, tied, k)
            sizes = {c: sum(votes) for votes, same in alike.items() for c in same if c != mine}
            rest = (1 - chance) / sum(sizes.values())
            shares = {mine: chance} | {c: rest * size for c, size in sizes.items()}
        codes = sorted(shares)
        parts.append(Votes(np.full(len(codes), row), np.array(codes), np.array([shares[c] for c in codes])))
    return Votes(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _count(near: Candidates, k: int) -> tuple[Votes, list[OpenVote]]:
    """Return the votes of queries whose k nearest are certain, and row, certain and tied votes of the others."""
    border = near.border[:, k - 1][near.row]
    within = near.distance <= border
    row, code, weight = near.row[within], near.code[within], near.weight[within]
    sure = near.distance[within] < border[within]
    over = np.bincount(row, weight, minlength=len(near.border)) > k  # a tie goes over the border
    bounds = np.searchsorted(row, np.arange(len(over) + 1))
    ties: list[OpenVote] = []
    for i in np.flatnonzero(over).tolist():
        part = slice(bounds[i], bounds[i + 1])
        certain: Counter[int] = Counter()
        tied: Counter[int] = Counter()
        for c, w, is_sure in zip(code[part].tolist(), weight[part].tolist(), sure[part].tolist(), strict=True):
            (certain if is_sure else tied)[c] += w
        ties.append((i, certain, tied))
    clear = ~over[row]
    return _plain_votes(row[clear], code[clear], weight[clear]), ties


def _plain_votes(row: Ints, code: Ints, weight: Ints) -> Votes:
    """Return the classes with most votes of each query, each with its equal share, where every entry votes."""
    if not len(row):
        return Votes(row, code, np.empty(0))
    span = int(code.max()) + 1
    keys, inverse = np.unique(row * span + code, return_inverse=True)
    votes = np.bincount(inverse, weight)
    first = np.flatnonzero(np.diff(keys // span, prepend=-1))
    queries = np.repeat(np.arange(len(first)), np.diff(first, append=len(keys)))
    winners = votes == np.maximum.reduceat(votes, first)[queries]
    shares = winners / np.add.reduceat(winners, first)[queries]
    return Votes(keys[winners] // span, keys[winners] % span, shares[winners])


class VoteTally:
    """Adds up which classes win and whether rightly, in any order with the same result: in whole numbers of 2⁻⁴⁰.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        self._sums = np.zeros((2, num_classes), dtype=np.int64)  # predicted, correct
        self._lock = Lock()

    def add(self, votes: Votes, own: Ints) -> None:
        """Take in the votes of B queries of classes `own` (B,)."""
        units = np.rint(votes.chance * _UNIT)  # sums of a block's are exact in float64
        right = votes.code == own[votes.row]
        count = self._sums.shape[1]
        sums = [np.bincount(votes.code, units, count), np.bincount(votes.code[right], units[right], count)]
        with self._lock:
            self._sums += np.array(sums).astype(np.int64)

    def result(self, group: dist.ProcessGroup | None, device: torch.device | str) -> Floats:
        """Return how often each class was predicted, and rightly so, (2,C), by all processes that share the queries."""
        own = torch.from_numpy(self._sums).to(device)
        sums = own if group is None else gather_rows(own, group).unflatten(0, (-1, 2)).sum(dim=0)
        return np.asarray(sums.cpu().numpy() / _UNIT)


def chance_of_class(own: int, certain: Mapping[int, int], tied: Mapping[int, int], k: int) -> float:
    """Return the chance that class `own` wins the vote of the k nearest references.

    Args:
        own: The class asked for.
        certain: Votes of each class from references closer than the k-th distance.
        tied: References of each class exactly at the k-th distance; from them k − Σ certain are drawn.
        k: Number of voters.

    Example:
        >>> chance_of_class(0, certain={0: 1}, tied={0: 1, 1: 3}, k=2)  # class 0 drawn: 2 votes; else 1 each
        0.625
    """
    others = Counter((certain.get(c, 0), tied.get(c, 0)) for c in {*certain, *tied} if c != own)
    ties = tuple(sorted((*pair, number) for pair, number in others.items()))
    return _chance(certain.get(own, 0), tied.get(own, 0), ties, k - sum(certain.values()))


@lru_cache(maxsize=1 << 16)
def _chance(votes: int, tied: int, others: tuple[Tie, ...], places: int) -> float:
    total = tied + sum(count * number for _, count, number in others)
    wins = Fraction(0)
    for drawn in range(min(tied, places) + 1):
        ways = _ways(others, votes + drawn, places - drawn)
        wins += comb(tied, drawn) * sum((Fraction(way, 1 + level) for level, way in ways.items()), Fraction(0))
    return float(wins / comb(total, places))


def _ways(others: tuple[Tie, ...], best: int, places: int) -> dict[int, int]:
    """Return, by the number of other classes with exactly `best` votes, the ways to draw `places` with none above."""
    product = {(0, 0): 1}  # (references drawn, classes level with `best`) -> ways
    for votes, tied, number in others:
        one = {(s, int(votes + s == best)): comb(tied, s) for s in range(min(tied, places, best - votes) + 1)}
        product = _multiply(product, _power(one, number, places), places)
    return {level: ways for (drawn, level), ways in product.items() if drawn == places}


Polynomial = dict[tuple[int, int], int]


def _multiply(left: Polynomial, right: Polynomial, degree: int) -> Polynomial:
    product: Polynomial = {}
    for (drawn, level), ways in left.items():
        for (more, extra), factor in right.items():
            if drawn + more <= degree:
                key = (drawn + more, level + extra)
                product[key] = product.get(key, 0) + ways * factor
    return product


def _power(base: Polynomial, exponent: int, degree: int) -> Polynomial:
    result: Polynomial = {(0, 0): 1}
    while exponent:
        if exponent & 1:
            result = _multiply(result, base, degree)
        base = _multiply(base, base, degree)
        exponent >>= 1
    return result
