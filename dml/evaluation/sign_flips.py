"""An exact test of the difference of two runs with few classes: every way to flip the classes' signs."""

from typing import NamedTuple

import numpy as np

from dml.errors import UserError
from dml.evaluation.intervals import aligned_scores
from dml.evaluation.per_query import QueryScores

MOST_CLASSES = 12  # 4,096 sign flips
_EQUAL = 1e-12  # relative: sums that differ by rounding are equal


class SignFlips(NamedTuple):
    """How likely so large a difference is where each class's sign is chance, and the least that could come out."""

    p_value: float
    least: float
    num_classes: int


def sign_flips(first: QueryScores, second: QueryScores, name: str) -> SignFlips:
    """Return the two-sided p-value of the mean difference of one score under all 2^C flips of the classes' signs.

    Each class is a block: the differences of its queries change sign together, so nothing is assumed of how they
    depend on each other, nor of any distribution but that it is symmetric where the runs are equally good. Exact, where
    the t-test of `paired_difference` is an approximation; but of C classes that differ no p-value is below 2 / 2^C:
    with five or fewer it never falls below .05, however large the difference.

    Args:
        first: Scores of the first run.
        second: Scores of the second run, of the same queries.
        name: Which score.

    Raises:
        UserError: The runs scored different queries, there is no such score, or there are more than 12 classes.

    Source: Fisher, "The Design of Experiments" (1935); Canay, Romano and Shaikh, "Randomization Tests under an
    Approximate Symmetry Assumption" (2017).

    Example:
        >>> labels, ids = np.repeat(range(4), 5), np.arange(20)
        >>> worse = QueryScores({"mrr": np.full(20, 0.5)}, labels, ids, 0)
        >>> sign_flips(worse, worse._replace(scores={"mrr": np.full(20, 0.6)}), "mrr")
        SignFlips(p_value=0.125, least=0.125, num_classes=4)
    """
    one, two = aligned_scores(first, second, name)
    codes = np.unique(first.labels, return_inverse=True)[1]
    sums = np.bincount(codes, two - one)  # (C,)
    if len(sums) > MOST_CLASSES:
        raise UserError(f"{len(sums)} classes have too many sign flips to try: at most {MOST_CLASSES}")
    flips = np.arange(1 << len(sums))[:, None] >> np.arange(len(sums)) & 1
    totals = np.abs((1 - 2 * flips) @ sums)
    slack = _EQUAL * np.abs(sums).sum()

    def share_reaching(total: float) -> float:
        return float(np.mean(totals >= total - slack))

    return SignFlips(share_reaching(abs(sums.sum())), share_reaching(totals.max()), len(sums))
