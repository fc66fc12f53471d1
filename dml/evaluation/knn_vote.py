"""The chance that the k nearest references vote for a query's own class.

Equal distances at the border of the k nearest are drawn in random order, and classes with equally many votes win
equally often. Both expectations are exact.
"""

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import NDArray

from dml.neighbors.ranking.layout import Ints
from dml.neighbors.ranking.nearest import Candidates

Floats = NDArray[np.float64]
Tie = tuple[int, int, int]  # (certain votes, tied references, how many classes are like this)


def own_class_chances(own: Ints, near: Candidates, k: int) -> Floats:
    """Return the chance (B,) that the class of each query, `own` (B,), wins the vote of its k nearest references."""
    border = near.border[:, k - 1][near.row]
    within = near.distance <= border
    row, code, weight = near.row[within], near.code[within], near.weight[within]
    result = _plain_votes(own, row, code, weight)
    sure = near.distance[within] < border[within]
    bounds = np.searchsorted(row, np.arange(len(own) + 1))
    for i in np.flatnonzero(np.bincount(row, weight, minlength=len(own)) > k):  # a tie goes over the border
        part = slice(bounds[i], bounds[i + 1])
        certain: Counter[int] = Counter()
        tied: Counter[int] = Counter()
        for c, w, is_sure in zip(code[part].tolist(), weight[part].tolist(), sure[part].tolist(), strict=True):
            (certain if is_sure else tied)[c] += w
        result[i] = chance_of_class(int(own[i]), certain, tied, k)
    return result


def _plain_votes(own: Ints, row: Ints, code: Ints, weight: Ints) -> Floats:
    """Return the share (B,) of each own class among the classes with most votes, where every entry votes."""
    span = int(max(code.max(), own.max())) + 1
    keys, inverse = np.unique(row * span + code, return_inverse=True)
    votes = np.bincount(inverse, weight)
    rows = keys // span
    first = np.flatnonzero(np.diff(rows, prepend=-1))  # every query has at least one neighbour
    most = np.maximum.reduceat(votes, first)
    level = np.add.reduceat(votes == most[rows], first)
    at = np.searchsorted(keys, np.arange(len(own)) * span + own).clip(max=len(keys) - 1)
    mine = np.where(keys[at] == np.arange(len(own)) * span + own, votes[at], 0)
    return np.asarray((mine == most) / level)


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
