"""Rates and bounds against plain loops over all pairs, the promise over fresh draws of classes, and what is refused."""

import numpy as np
import pytest

from dml.embeddings import EmbeddingSet, unit_rows
from dml.errors import UserError
from dml.evaluation import calibrate, measure, measure_unseen
from dml.evaluation.class_distances import stream_distances
from dml.evaluation.class_rates import ClassRates, least_rate, rate_bounds
from dml.neighbors import NeighborIndex
from dml.neighbors.ranking import RankingTask


def draw(seed: int, classes: int, each: int = 5, dim: int = 8, noise: float = 0.4, uneven: bool = False):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 2 * each, classes) if uneven else np.full(classes, each)
    labels = rng.permutation(np.repeat(np.arange(classes), sizes))
    widths = noise * np.exp(0.3 * rng.normal(size=classes))
    rows = rng.normal(size=(classes, dim))[labels] + widths[labels, None] * rng.normal(size=(len(labels), dim))
    return EmbeddingSet(rows.astype(np.float32), labels * 3 + 1)


def brute(query: EmbeddingSet, reference: EmbeddingSet):
    distances = np.linalg.norm(query.embeddings[:, None].astype(float) - reference.embeddings, axis=2)
    same = query.labels[:, None] == reference.labels
    return distances, same, query.ids[:, None] == reference.ids


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_rates_are_those_of_all_pairs_counted_one_by_one(apart: bool, metric: str) -> None:
    query = draw(0, 12, uneven=True)
    reference = query
    if apart:
        rows = draw(1, 12, uneven=True)
        reference = EmbeddingSet(rows.embeddings, rows.labels, 10_000 + rows.ids)
    distances, same, own = brute(query.in_metric(metric), reference.in_metric(metric))
    threshold = float(np.quantile(distances[~same], 0.2))
    found = measure(query, reference, threshold**2 / 2 if metric == "cosine" else threshold, metric)
    within = distances <= threshold
    assert found.pairs.rate[0] == pytest.approx(within[~same].mean(), abs=1e-12)
    assert found.true_match_rate == pytest.approx(within[same & ~own].mean())
    others = np.where(same, np.inf, distances).min(axis=1)
    assert found.searches.rate[0] == pytest.approx((others <= threshold).mean())
    known = np.where(own, np.inf, distances).min(axis=1)
    assert found.known_answered == pytest.approx((known <= threshold).mean())
    wins = (known[:, None] < others) + 0.5 * (known[:, None] == others)
    assert found.auroc == pytest.approx(wins.mean(), abs=1e-9)


@pytest.mark.parametrize("of", ["pairs", "searches"])
def test_without_a_class_the_rates_are_those_of_the_other_classes(of: str) -> None:
    rows = draw(2, 9, uneven=True)
    limits = np.float32([0.5, 2.0, 5.0])

    def rates(kept: EmbeddingSet) -> ClassRates:
        found = stream_distances(RankingTask(kept, kept), limits, max_memory="2MB")
        return found.pairs if of == "pairs" else found.nearest.search_rates(limits)

    whole = rates(rows)
    counted = sorted(
        tuple(np.round((whole.events - lost) / (whole.cases - cases), 9))
        for lost, cases in zip(whole.lost_events, whole.lost, strict=True)
    )
    left = sorted(tuple(np.round(rates(rows.take(rows.labels != label)).rate, 9)) for label in np.unique(rows.labels))
    np.testing.assert_allclose(counted, left)


def test_a_threshold_means_what_the_index_means_by_a_distance() -> None:
    rows = draw(3, 40)
    for metric in ("l2", "cosine"):
        found = calibrate(rows, rows, rate=0.02, metric=metric)
        distances = NeighborIndex(metric).add(rows.embeddings).search(rows.embeddings, len(rows))
        different = rows.labels[distances[1]] != rows.labels[:, None]
        assert (distances[0] <= found.threshold)[different].mean() == pytest.approx(found.own_rate, abs=1e-4)


@pytest.mark.parametrize(("of", "rate"), [("pairs", 0.02), ("searches", 0.25)])
def test_new_classes_keep_the_promise(of: str, rate: float) -> None:
    held, realised = [], []
    for seed in range(40):
        known, new = draw(seed, 36, dim=4), draw(1000 + seed, 36, dim=4)
        threshold = calibrate(known, known, rate, of=of).threshold
        found = measure(new, new, threshold)
        realised.append(float((found.pairs if of == "pairs" else found.searches).rate[0]))
        held.append(realised[-1] <= rate)
    assert np.mean(held) >= 0.9  # nominal .95
    assert np.mean(realised) > 0.2 * rate  # and is not bought by answering nothing


def test_the_plain_quantile_breaks_the_promise() -> None:
    held = []
    for seed in range(30):
        known, new = draw(seed, 36, dim=4), draw(1000 + seed, 36, dim=4)
        distances, same, _ = brute(known, known)
        held.append(measure(new, new, float(np.quantile(distances[~same], 0.02))).pairs.rate[0] <= 0.02)
    assert np.mean(held) < 0.8


def test_more_confidence_and_more_classes_to_hold_for() -> None:
    rows = draw(4, 60)
    base = calibrate(rows, rows, 0.02)
    assert calibrate(rows, rows, 0.02, confidence=0.99).threshold < base.threshold
    assert calibrate(rows, rows, 0.02, new_classes=np.inf).threshold > base.threshold
    assert base.own_rate < 0.02
    assert (base.num_classes, base.new_classes) == (60, 60)


def test_classes_that_did_not_choose_are_measured() -> None:
    rows = draw(5, 60)
    promised = calibrate(rows, rows, 0.02)
    unseen = measure_unseen(rows, rows, promised)
    low, high = rate_bounds(unseen, 0.975)
    assert len(unseen.lost) == 60
    assert unseen.cases == pytest.approx(5 * 60 * 55)  # 12 classes of 5 in each fifth
    assert low[0] < unseen.rate[0] < high[0] < 0.05
    searched = measure_unseen(rows, rows, calibrate(rows, rows, 0.3, of="searches"))
    assert searched.cases == len(rows)


def test_bounds_without_clusters_are_clopper_and_pearsons() -> None:
    rng = np.random.default_rng(0)
    hits = (rng.random(4000) < 0.05).astype(float)
    rates = ClassRates(np.array([hits.sum()]), 4000.0, hits[:, None], np.ones(4000))
    low, high = rate_bounds(rates, 0.975)
    assert low[0] == pytest.approx(hits.mean() - 1.96 * np.sqrt(0.05 * 0.95 / 4000), abs=1e-3)
    assert high[0] == pytest.approx(hits.mean() + 1.96 * np.sqrt(0.05 * 0.95 / 4000), abs=1e-3)
    clustered = ClassRates(rates.events, 4000.0, hits[:, None].reshape(400, 10).sum(1)[:, None], np.full(400, 10.0))
    hub = clustered._replace(lost_events=np.r_[[rates.events], np.zeros((399, 1))])  # all of one class
    assert rate_bounds(clustered, 0.975)[1] < rate_bounds(hub, 0.975)[1]
    assert least_rate(3000, 0.95) == pytest.approx(1e-3, rel=0.01)


def test_references_of_one_class_are_told() -> None:
    queries = EmbeddingSet(np.float32([[0.0], [0.1], [1.0]]), [0, 0, 1])
    references = EmbeddingSet(np.float32([[0.2], [0.3]]), [0, 0], [7, 8])
    with pytest.raises(UserError, match="no query has a reference of another class"):
        stream_distances(RankingTask(queries, references), np.float32([1.0]))


def test_two_classes_tell_nothing_of_the_variance() -> None:
    two = ClassRates(np.array([10.0]), 100.0, np.array([[10.0], [10.0]]), np.array([100.0, 100.0]))
    assert rate_bounds(two, 0.95) == (0.0, 1.0)


def test_too_few_classes_are_told_how_many_it_takes() -> None:
    rows = draw(6, 10)
    with pytest.raises(UserError, match=r"needs at least 78 classes, and these count as 10: promise 0\.065 or more"):
        calibrate(rows, rows, 1e-3)
    with pytest.raises(UserError, match="needs at least 59 classes"):
        calibrate(rows, rows, 0.05, of="searches")
    with pytest.raises(UserError, match=r"10 classes can promise a rate of 0\.\d+ of searches at best"):
        calibrate(rows, rows, 0.27, of="searches")
    calibrate(rows, rows, 0.1)
    for wrong in ({"rate": 0.0}, {"rate": 1.0}, {"confidence": 1.0}, {"new_classes": 0.0}, {"metric": "l1"}):
        with pytest.raises(UserError):
            calibrate(rows, rows, **({"rate": 0.1} | wrong))
    one = EmbeddingSet(rows.embeddings, np.zeros(len(rows)))
    for ask in (calibrate, measure):
        with pytest.raises(UserError, match="one class"):
            ask(one, one, 0.1)


def test_classes_that_stand_apart_are_told_apart() -> None:
    far = EmbeddingSet(unit_rows(np.repeat(np.eye(8), 3, axis=0)), np.repeat(range(8), 3))
    found = measure(far, far, 0.1)
    assert (found.auroc, found.known_answered, found.true_match_rate) == (1.0, 1.0, 1.0)
    assert (found.pairs.rate[0], found.searches.rate[0]) == (0.0, 0.0)
