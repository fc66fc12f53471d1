"""What random and Bayesian search propose."""

import itertools

import numpy as np
import pytest
from optuna.trial import TrialState
from scipy.stats import kstest

from dml.experiments.sweep.search import Search, Tried, grid
from dml.experiments.sweep.space import Dimension

LR = Dimension("lr", (), 1e-4, 1e-1, log=True)
WIDTH = Dimension("width", (), 3, 6, whole=True)
LOSS = Dimension("loss", ("hinge", "softplus"))


def test_a_grid_is_the_product():
    space = [Dimension("a", ("1", "2", "3")), LOSS]
    assert [tuple(c.values()) for c in grid(space)] == list(itertools.product(("1", "2", "3"), LOSS.choices))


def _tried(known):
    return [Tried(values, TrialState.FAIL if score is None else TrialState.COMPLETE, score) for values, score in known]


def _draw(search, number, score=lambda values: 0.0):
    known = []
    for _ in range(number):
        values = search.propose(_tried(known))
        known.append((values, score(values)))
    return known


def test_random_draws_are_even_and_a_function_of_seed_and_position():
    search, again, other = (Search("random", [LR, WIDTH, LOSS], seed, "max") for seed in (0, 0, 1))
    drawn = [values for values, _ in _draw(search, 200)]
    assert again.propose(_tried((values, 0.5) for values in drawn[:70])) == drawn[70]
    assert other.propose([]) != drawn[0]
    assert kstest([np.log10(float(c["lr"])) for c in drawn], "uniform", args=(-4, 3)).pvalue > 0.001
    assert {c["width"] for c in drawn} == {"3", "4", "5", "6"}
    assert {c["loss"] for c in drawn} == set(LOSS.choices)


@pytest.mark.parametrize("kind", ["random", "bayes"])
def test_nothing_is_drawn_twice_and_a_small_space_comes_to_its_end(kind):
    search = Search(kind, [LOSS, Dimension("a", ("1", "2", "3"))], 0, "max")
    drawn = _draw(search, 6)
    assert len({tuple(values.values()) for values, _ in drawn}) == 6
    assert search.propose(_tried(drawn)) is None


def _badness(configuration):
    worse = configuration["loss"] == "hinge"
    return (np.log10(float(configuration["lr"])) + 2) ** 2 + (int(configuration["width"]) - 5) ** 2 + worse


@pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
def test_bayes_comes_closer_to_the_best(mode, sign):
    known = _draw(Search("bayes", [LR, WIDTH, LOSS], 0, mode), 3, lambda values: sign * _badness(values))
    known.append(({"lr": "0.05", "width": "3", "loss": "hinge"}, None))  # it failed
    search = Search("bayes", [LR, WIDTH, LOSS], 0, mode)
    for _ in range(50):
        values = search.propose(_tried(known))
        assert 1e-4 <= float(values["lr"]) <= 1e-1
        known.append((values, sign * _badness(values)))
    found = [_badness(values) for values, _ in known]
    assert np.median(found[-20:]) < np.median(found[:10])
    assert min(found) < 0.2


def test_bayes_goes_on_from_what_is_known():
    known = [
        ({"lr": f"{10**-e:g}", "width": str(w), "loss": loss}, _badness({"lr": 10**-e, "width": w, "loss": loss}))
        for e in (1, 2, 3, 4) for w in (3, 5, 6) for loss in LOSS.choices
    ]  # fmt: skip
    tried = _tried([*known, ({"lr": "5", "width": "4", "loss": "hinge"}, 0.0)])  # the last is outside
    drawn = [Search("bayes", [LR, WIDTH, LOSS], seed, "min").propose(tried) for seed in range(20)]
    assert np.median([_badness(values) for values in drawn]) < np.median([score for _, score in known]) / 2


def test_bayes_keeps_away_from_what_is_pruned_and_from_what_runs():
    far = [Tried({"lr": f"{10 ** (-1 - i / 9):g}"}, TrialState.PRUNED, 0.1, {1: 0.1}) for i in range(9)]
    near = [Tried({"lr": f"{10 ** (-3 - i / 9):g}"}, TrialState.COMPLETE, 0.9) for i in range(9)]
    drawn = [Search("bayes", [LR], seed, "max").propose(far + near) for seed in range(12)]
    assert sum(float(values["lr"]) < 10**-2 for values in drawn) > 9
