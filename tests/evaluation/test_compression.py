"""Projections against NumPy's SVD, codes against their definition, and the scores of what an index would store."""

import numpy as np
import pytest

from dml.embeddings import EmbeddingSet
from dml.errors import UserError
from dml.evaluation import compress, paired_difference, query_scores
from dml.evaluation.compression import fit_codebook, fit_projection

LABELS = np.repeat(range(12), 8)


def rows(seed: int = 0, dim: int = 16) -> EmbeddingSet:
    rng = np.random.default_rng(seed)
    scale = 0.7 ** np.arange(dim)
    centers = np.random.default_rng(9).normal(size=(12, dim))
    return EmbeddingSet((scale * (centers[LABELS] + 0.5 * rng.normal(size=(96, dim)))).astype(np.float32), LABELS)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_principal_axes_are_those_of_the_svd(metric: str) -> None:
    train = rows()
    unit = train.in_metric(metric).embeddings.astype(np.float64)
    centred = unit - unit.mean(axis=0) if metric == "l2" else unit
    values = np.linalg.svd(centred, full_matrices=False)[1]
    project = fit_projection(train, 4, "pca", metric)
    np.testing.assert_allclose(project.axes.T @ project.axes, np.eye(4), atol=1e-10)
    np.testing.assert_allclose(np.square(project(unit)).sum(axis=0), values[:4] ** 2, rtol=1e-4)


def test_all_principal_axes_keep_every_distance() -> None:
    train = rows()
    turned = fit_projection(train, 16, "pca")(train.embeddings)
    before, after = (np.linalg.norm(x[:, None] - x, axis=2) for x in (train.embeddings, turned))
    np.testing.assert_allclose(before, after, atol=1e-4)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_codes_are_at_most_so_many_and_nearest(bits: int) -> None:
    train = rows().embeddings
    book = fit_codebook(train, bits)
    back = book.rounded(train)
    assert all(len(np.unique(column)) <= 2**bits for column in back.T)
    nearest = np.abs(train[:, :, None] - book.values).min(axis=2)
    if bits > 1:  # one bit is the side of the mean
        np.testing.assert_allclose(np.abs(back - train), nearest, atol=1e-6)
    else:
        above = train > train.mean(axis=0)
        np.testing.assert_allclose(back[above[:, 0], 0], train[above[:, 0], 0].mean(), rtol=1e-5)
    assert np.square(back - train).sum() < np.square(train - train.mean(axis=0)).sum() * 0.75**bits


def test_a_coordinate_that_never_changes_stays() -> None:
    still = np.ones((5, 2))
    for bits in (1, 4):
        np.testing.assert_array_equal(fit_codebook(still, bits).rounded(still), still)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_scores_are_those_of_what_is_stored(metric: str) -> None:
    query, train = rows(1), rows(2)
    reference = EmbeddingSet(train.embeddings, train.labels, 1000 + train.ids)
    full, found = compress(query, reference, reference, [4, 16], [1, 8, 32], metric=metric)
    plain = query_scores(query.embeddings, LABELS, reference.embeddings, LABELS, (1,), (1,), metric=metric)
    assert full["recall_at_1"] == plain.scores["recall_at_1"].mean()
    by = {(each.way, each.dims, each.bits): each for each in found}
    assert len(by) == 12
    assert by["cut", 16, 32].scores == full
    cut = query_scores(query.embeddings[:, :4], LABELS, reference.embeddings[:, :4], LABELS, (1,), (1,), metric=metric)
    change = paired_difference(plain, cut, "map_at_r")
    assert by["cut", 4, 32].scores["map_at_r"] == pytest.approx(cut.scores["map_at_r"].mean())
    assert by["cut", 4, 32].changes["map_at_r"] == pytest.approx(change)
    stored = fit_codebook(reference.embeddings[:, :4], 1).rounded(
        reference.embeddings[:, :4]
    )  # queries are not rounded
    coded = query_scores(query.embeddings[:, :4], LABELS, stored, LABELS, (1,), (1,), metric=metric)
    assert by["cut", 4, 1].scores["map_at_r"] == pytest.approx(coded.scores["map_at_r"].mean())
    assert [by["cut", 4, bits].bytes for bits in (1, 8, 32)] == [1, 4, 16]
    assert by["pca", 4, 32].scores["map_at_r"] > by["cut", 4, 1].scores["map_at_r"]


def test_a_query_never_finds_its_own_code() -> None:
    query = rows()
    full, found = compress(query, query, query, [16], [8], ["cut"])
    assert found[0].scores["recall_at_1"] == pytest.approx(full["recall_at_1"], abs=0.03)
    lonely = EmbeddingSet(query.embeddings, np.random.default_rng(0).permutation(LABELS))
    assert compress(lonely, lonely, lonely, [16], [32], ["cut"])[0]["recall_at_1"] < 0.5  # itself would give 1


def test_sizes_and_bits_out_of_range_are_refused() -> None:
    query = rows()
    with pytest.raises(UserError, match="17 of --dims"):
        compress(query, query, query, [17], [32])
    with pytest.raises(UserError, match="17 of --bits"):
        compress(query, query, query, [16], [17])
