"""Intervals cover as often as they say, and tests do not cry wolf."""

import numpy as np
import pytest

from dml.errors import UserError
from dml.evaluation import QueryScores, class_intervals, paired_difference


def simulated(rng, classes, queries=5):
    """Scores whose mean over all classes there could be is one half."""
    labels = np.repeat(np.arange(classes), queries)
    values = np.clip(rng.beta(2, 2, classes)[labels] + 0.1 * rng.standard_normal(len(labels)), -1, 2)
    return QueryScores({"map_at_r": values}, labels, np.arange(len(labels)), 0)


@pytest.mark.parametrize("classes", [8, 40])
def test_intervals_cover_as_often_as_they_say(classes):
    rng = np.random.default_rng(0)
    intervals = [class_intervals(simulated(rng, classes), resamples=300)["map_at_r"] for _ in range(400)]
    covered = np.mean([low <= 0.5 <= high for low, high in intervals])
    assert 0.92 <= covered <= 0.975


def test_paired_test_keeps_its_level_and_finds_differences():
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(200):
        one, two = simulated(rng, 20), simulated(rng, 20)
        p_values.append(paired_difference(one, two, "map_at_r", resamples=300).p_value)
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.09
    better = one._replace(scores={"map_at_r": one.scores["map_at_r"] + 0.05})
    found = paired_difference(one, better, "map_at_r")
    assert found.difference == pytest.approx(0.05)
    assert found.low > 0.04
    assert found.p_value < 0.01


def test_order_of_queries_does_not_matter():
    rng = np.random.default_rng(0)
    one, two = simulated(rng, 20), simulated(rng, 20)
    order = rng.permutation(100)
    shuffled = QueryScores({"map_at_r": two.scores["map_at_r"][order]}, two.labels[order], two.ids[order], 0)
    assert paired_difference(one, shuffled, "map_at_r") == paired_difference(one, two, "map_at_r")


def test_bad_input_is_one_clear_line():
    rng = np.random.default_rng(0)
    one, two = simulated(rng, 20), simulated(rng, 19)
    with pytest.raises(UserError, match="different queries"):
        paired_difference(one, two, "map_at_r")
    with pytest.raises(UserError, match="no score 'speed'"):
        paired_difference(one, one, "speed")
    with pytest.raises(UserError, match="two classes"):
        class_intervals(simulated(rng, 1))
    with pytest.raises(UserError, match="between 0 and 1"):
        class_intervals(one, level=95)
