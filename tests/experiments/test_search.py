"""What random and Bayesian search propose."""

import itertools
import sys

import numpy as np
import pytest
from scipy.stats import kstest

from dml.errors import UserError
from dml.experiments.sweep.search import BayesSearch, RandomSearch, grid
from dml.experiments.sweep.space import Dimension

LR = Dimension("lr", (), 1e-4, 1e-1, log=True)
WIDTH = Dimension("width", (), 3, 6, whole=True)
LOSS = Dimension("loss", ("hinge", "softplus"))


def test_a_grid_is_the_product():
    space = [Dimension("a", ("1", "2", "3")), LOSS]
    assert [tuple(c.values()) for c in grid(space)] == list(itertools.product(("1", "2", "3"), LOSS.choices))


def test_random_draws_are_even_and_a_function_of_seed_and_position():
    search, again, other = (RandomSearch([LR, WIDTH, LOSS], seed) for seed in (0, 0, 1))
    drawn = [search.propose() for _ in range(400)]
    assert [again.propose() for _ in range(400)] == drawn
    assert other.propose() != drawn[0]
    assert kstest([np.log10(float(c["lr"])) for c in drawn], "uniform", args=(-4, 3)).pvalue > 0.001
    assert {c["width"] for c in drawn} == {"3", "4", "5", "6"}
    assert {c["loss"] for c in drawn} == set(LOSS.choices)


def test_without_optuna_it_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match="needs Optuna"):
        BayesSearch([LR], 0, "max")


def _bayes(mode, known=()):
    pytest.importorskip("optuna", reason="the extra optuna is not installed")
    search = BayesSearch([LR, WIDTH, LOSS], 0, mode)
    for configuration, score in known:
        search.learn(configuration, score)
    return search


def _badness(configuration):
    worse = configuration["loss"] == "hinge"
    return (np.log10(float(configuration["lr"])) + 2) ** 2 + (int(configuration["width"]) - 5) ** 2 + worse


@pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
def test_bayes_comes_closer_to_the_best(mode, sign):
    search, found = _bayes(mode), []
    for number in range(60):
        configuration = search.propose()
        assert 1e-4 <= float(configuration["lr"]) <= 1e-1
        found.append(_badness(configuration))
        search.learn(configuration, None if number == 3 else sign * found[-1])  # one trial failed
    assert np.median(found[-20:]) < np.median(found[:10])
    assert min(found) < 0.1


def test_bayes_goes_on_from_what_is_known():
    known = [
        ({"lr": f"{10**-e:g}", "width": str(w), "loss": loss}, _badness({"lr": 10**-e, "width": w, "loss": loss}))
        for e in (1, 2, 3, 4) for w in (3, 5, 6) for loss in LOSS.choices
    ]  # fmt: skip
    search = _bayes("min", [*known, ({"lr": "5", "width": "4", "loss": "hinge"}, 0.0)])  # the last is outside
    assert np.median([_badness(search.propose()) for _ in range(20)]) < np.median([score for _, score in known]) / 2
