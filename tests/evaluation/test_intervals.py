"""Intervals hold as often as they say where they are used, and tests do not cry wolf."""

import itertools
import math
import time

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from dml.errors import UserError
from dml.evaluation import (
    Evaluation,
    QueryScores,
    class_intervals,
    holm,
    paired_difference,
    query_scores,
    sign_flips,
)


def table(values, labels, name="score"):
    return QueryScores({name: np.asarray(values, dtype=float)}, np.asarray(labels), np.arange(len(labels)), 0)


def draw_labels(rng, classes, balanced=True, queries=20):
    sizes = np.full(classes, queries) if balanced else queries * np.exp(rng.normal(-0.32, 0.8, classes))
    return np.repeat(np.arange(classes), np.maximum(2, np.round(sizes)).astype(int))


def draw(rng, classes, mean=0.5, likeness=0.05, binary=False, balanced=True):
    """Scores by class; the classes' means are beta distributed with this intraclass correlation."""
    labels = draw_labels(rng, classes, balanced)
    strength = 1 / likeness - 1
    means = rng.beta(mean * strength, (1 - mean) * strength, classes).clip(1e-6, 1 - 1e-6)[labels]
    return table(rng.random(len(labels)) < means if binary else rng.beta(5 * means, 5 * (1 - means)), labels)


def coverage(tables, truth, name="score"):
    intervals = np.array([class_intervals(one)[name] for one in tables])
    assert (intervals >= 0).all()
    assert (intervals <= 1).all()
    return np.mean((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])), np.diff(intervals).mean()


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("classes", "widest"), [(5, 0.38), (10, 0.22), (30, 0.11)])
def test_intervals_hold_near_the_top_where_classes_differ(classes, widest, binary, balanced):
    rng = np.random.default_rng(0)
    held, width = coverage([draw(rng, classes, 0.97, 0.2, binary, balanced) for _ in range(400)], 0.97)
    assert held >= 0.93
    assert width <= widest


@pytest.mark.parametrize(("classes", "widest"), [(5, 0.44), (10, 0.28), (30, 0.15)])
def test_intervals_are_not_wider_than_they_must(classes, widest):
    rng = np.random.default_rng(0)
    held, width = coverage([draw(rng, classes, 0.5, 0.05, True) for _ in range(300)], 0.5)
    assert held >= 0.93
    assert width <= widest


def test_intervals_hold_end_to_end():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):  # five Gaussian classes of unequal width
        labels, widths = draw_labels(rng, 5), np.exp(rng.normal(0, 0.4, 5))
        points = rng.normal(0, 2.2, (5, 8))[labels] + widths[labels][:, None] * rng.normal(size=(len(labels), 8))
        found.append(query_scores(points, labels, ks=(1,), knn_ks=(1,)))
    for name, expected in (("recall_at_1", 0.97), ("map_at_r", 0.86)):
        truth = np.mean([one.scores[name].mean() for one in found])
        assert truth == pytest.approx(expected, abs=0.02)
        assert coverage(found, truth, name)[0] >= 0.93


def test_all_correct_leaves_a_lower_end():
    for classes, queries in itertools.product((2, 3, 10, 100), (1, 4, 100)):
        labels = np.repeat(np.arange(classes), queries)
        low, high = class_intervals(table(np.ones(len(labels)), labels))["score"]
        assert high == 1
        assert 0 < low < 0.025 ** (1 / len(labels))  # at least as careful as Clopper and Pearson of all queries
        mirrored = class_intervals(table(np.zeros(len(labels)), labels))["score"]
        assert mirrored == pytest.approx((0, 1 - low))


def test_many_classes_that_do_not_differ_give_wilsons_interval():
    values = np.tile([1.0, 0.0, 1.0, 1.0], 500)
    low, high = class_intervals(table(values, np.repeat(np.arange(500), 4)))["score"]
    wilson = binomtest(1500, 2000).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((wilson.low, wilson.high), abs=2e-4)


def test_intervals_of_many_scores_take_no_time():
    labels = np.arange(60_000) % 11_000
    values = np.random.default_rng(0).random(60_000)
    scores = QueryScores({f"score_{i}": values for i in range(13)}, labels, np.arange(60_000), 0)
    start = time.process_time()
    class_intervals(scores)
    assert time.process_time() - start < 3  # a bootstrap of 2,000 resamples takes a minute


def test_one_class_has_no_interval():
    alone = table([0.5, 0.7], [3, 3])
    assert Evaluation.of(alone).intervals() == {}
    with pytest.raises(UserError, match="two classes"):
        class_intervals(alone)


def null_pair(rng, classes, balanced):
    """Two equally good runs: what is easy for one class is so for both, the rest is chance of class and query."""
    labels = draw_labels(rng, classes, balanced)
    shared, own = rng.normal(0, 1, classes), rng.normal(0, 0.3, (2, classes))
    one, two = (1 / (1 + np.exp(-(shared + each)[labels] - rng.normal(0, 1, len(labels)))) for each in own)
    return table(one, labels), table(two, labels)


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("classes", [5, 10, 30])
def test_false_alarms_are_near_the_level_and_never_against_the_interval(classes, balanced):
    rng = np.random.default_rng(0)
    found = [paired_difference(*null_pair(rng, classes, balanced), "score") for _ in range(500)]
    for one in found:
        assert (one.p_value < 0.05) == (not one.low <= 0 <= one.high)
    assert 0.004 <= np.mean([one.p_value < 0.05 for one in found]) <= 0.065


def test_the_interval_of_level_one_less_p_ends_at_zero():
    rng = np.random.default_rng(0)
    for classes, balanced in itertools.product((2, 5, 30), (True, False)):
        one, two = null_pair(rng, classes, balanced)
        p_value = paired_difference(one, two, "score").p_value
        found = paired_difference(one, two, "score", level=1 - p_value)
        assert min(abs(found.low), abs(found.high)) < 1e-9


def test_classes_of_one_size_give_students_test_with_room_for_shared_errors():
    rng = np.random.default_rng(0)
    means = rng.normal(0.02, 0.1, 12)
    labels = np.repeat(np.arange(12), 5)
    found = paired_difference(table(np.full(60, 0.5), labels), table(0.5 + means[labels], labels), "score")
    student = ttest_1samp(means, 0).confidence_interval()
    half = (student.high - student.low) / 2 * 1.25**0.5
    assert (found.low, found.high) == pytest.approx((means.mean() - half, means.mean() + half))


def test_equal_runs_differ_by_nothing_but_not_for_sure():
    one = draw(np.random.default_rng(0), 10)
    found = paired_difference(one, one, "score")
    assert found.difference == 0
    assert found.p_value == 1
    assert found.low < 0 < found.high


def test_a_steady_difference_is_found():
    rng = np.random.default_rng(0)
    one = draw(rng, 20)
    better = one._replace(scores={"score": one.scores["score"] + 0.05})
    found = paired_difference(one, better, "score")
    assert found.difference == pytest.approx(0.05)
    assert found.low > 0.04
    assert found.p_value < 0.01


def test_order_of_queries_does_not_matter():
    one, two = null_pair(np.random.default_rng(0), 20, True)
    order = np.random.default_rng(1).permutation(len(two.ids))
    shuffled = QueryScores({"score": two.scores["score"][order]}, two.labels[order], two.ids[order], 0)
    assert paired_difference(one, shuffled, "score") == paired_difference(one, two, "score")


def test_holm_is_the_closure_of_bonferroni():
    rng = np.random.default_rng(0)
    p_values = {str(i): float(p) for i, p in enumerate(rng.random(6) ** 3)}
    corrected = holm(p_values)
    for name in p_values:
        others = [p for other, p in p_values.items() if other != name]
        sets = [[p_values[name], *some] for size in range(6) for some in itertools.combinations(others, size)]
        assert corrected[name] == pytest.approx(min(1, max(len(some) * min(some) for some in sets)))
    assert holm({}) == {}


def test_bad_input_is_one_clear_line():
    rng = np.random.default_rng(0)
    one, two = draw(rng, 20), draw(rng, 19)
    with pytest.raises(UserError, match="different queries"):
        paired_difference(one, two, "score")
    with pytest.raises(UserError, match="no score 'speed'"):
        paired_difference(one, one, "speed")
    with pytest.raises(UserError, match="two classes"):
        paired_difference(*[table([0.5, 0.7], [3, 3])] * 2, "score")
    with pytest.raises(UserError, match="between 0 and 1"):
        class_intervals(one, level=95)
    for wrong in (1.5, np.nan):
        with pytest.raises(UserError, match=r"'score' must lie between 0 and 1"):
            class_intervals(table([0.5, wrong], [0, 1]))


def flipped(differences, labels):
    """The p-value of every flip of the classes' signs, tried one by one."""
    classes = sorted(set(labels.tolist()))
    seen = abs(math.fsum(differences))
    every = [
        abs(math.fsum(d * signs[classes.index(c)] for d, c in zip(differences, labels.tolist(), strict=True)))
        for signs in itertools.product((1, -1), repeat=len(classes))
    ]
    return [np.mean([total >= least - 1e-9 for total in every]) for least in (seen, max(every))]


@pytest.mark.parametrize("classes", [2, 5, 9])
def test_sign_flips_are_all_tried(classes):
    rng = np.random.default_rng(classes)
    labels = draw_labels(rng, classes, balanced=False)
    one, two = (table(rng.integers(0, 3, len(labels)) / 2, labels) for _ in range(2))  # many equal sums
    found = sign_flips(one, two, "score")
    assert list(found[:2]) == flipped(two.scores["score"] - one.scores["score"], labels)
    assert found.num_classes == classes
    same = sign_flips(one, one, "score")
    assert same.p_value == same.least == 1
    with pytest.raises(UserError, match="13 classes have too many sign flips"):
        sign_flips(*[table(np.full(13, 0.5), np.arange(13))] * 2, "score")


def test_sign_flips_keep_their_level_whatever_the_classes():
    rng = np.random.default_rng(0)
    found = [sign_flips(*null_pair(rng, 8, False), "score").p_value for _ in range(1000)]
    for level in (0.05, 0.1, 0.2):
        assert np.mean([p <= level for p in found]) <= level + 2 * math.sqrt(level / 1000)
