"""Re-ranking and expansion on neighbour lists equal the dense algorithms, written out here from the papers."""

import numpy as np
import pytest

from dml.errors import UserError
from dml.neighbors.index import NeighborIndex
from dml.search.expansion import augment_rows, expand_queries
from dml.search.reranking import Reranking, rerank


def _dense_rerank(queries, references, k1, k2, weight):
    """Zhong et al. (2017), as the authors' code has it, with all pairs in memory."""
    rows = np.concatenate([queries, references])
    squared = np.square(rows).sum(axis=1)[:, None] + np.square(rows).sum(axis=1) - 2 * rows @ rows.T
    np.fill_diagonal(squared, 0)
    original = squared / squared.max(axis=1, keepdims=True)
    ranks = np.argsort(original, axis=1, kind="stable")
    total, half = len(rows), round(k1 / 2)

    def reciprocal(i, k):
        forward = ranks[i, : k + 1]
        return forward[(ranks[forward, : k + 1] == i).any(axis=1)]

    encoded = np.zeros((total, total))
    for i in range(total):
        own = reciprocal(i, k1)
        expanded = own
        for candidate in own:
            theirs = reciprocal(candidate, half)
            if len(np.intersect1d(theirs, own)) > 2 / 3 * len(theirs):
                expanded = np.append(expanded, theirs)
        expanded = np.unique(expanded)
        weights = np.exp(-original[i, expanded])
        encoded[i, expanded] = weights / weights.sum()
    if k2 > 1:
        encoded = np.stack([encoded[ranks[i, :k2]].mean(axis=0) for i in range(total)])
    num = len(queries)
    jaccard = np.zeros((num, len(references)))
    for i in range(num):
        minima = np.minimum(encoded[i], encoded[num:]).sum(axis=1)
        jaccard[i] = 1 - minima / (2 - minima)
    return (1 - weight) * jaccard + weight * original[:num, num:]


def _blobs(count, dim, seed=0, spread=0.6):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(max(2, count // 40), dim))
    return (centres[generator.integers(0, len(centres), count)] + spread * generator.normal(size=(count, dim))).astype(
        np.float32
    )


def _search(references):
    index = NeighborIndex("l2").add(references)

    def search(rows, k):
        distances, positions = index.search(rows, k)
        return distances**2, positions

    return search


def _rerank(queries, references, k, max_memory=1 << 28, **settings):
    rows = references.astype(np.float64)
    return rerank(
        queries.astype(np.float64),
        rows.__getitem__,
        len(rows),
        _search(references),
        k,
        Reranking(**settings),
        max_memory,
    )


@pytest.mark.parametrize(
    ("count", "num", "k1", "k2", "weight"),
    [(2000, 40, 20, 6, 0.3), (150, 7, 7, 1, 0.5), (60, 1, 5, 3, 0.0), (9, 3, 20, 4, 0.3)],
)
def test_it_is_what_the_dense_algorithm_gives(count, num, k1, k2, weight):
    rows = _blobs(count, 16, seed=count)
    queries, references = rows[:num], rows[num:]
    dense = _dense_rerank(queries.astype(np.float64), references.astype(np.float64), k1, k2, weight)
    k = min(50, len(references))
    distances, positions = _rerank(queries, references, k, k1=k1, k2=k2, weight=weight)
    np.testing.assert_allclose(distances, np.sort(dense, axis=1)[:, :k], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(dense, positions, 1), distances, atol=1e-6)
    assert all(len(set(row)) == k for row in positions.tolist())


def test_small_blocks_change_nothing():
    rows = _blobs(700, 8)
    one = _rerank(rows[:20], rows[20:], 30)
    two = _rerank(rows[:20], rows[20:], 30, max_memory=170_000)
    np.testing.assert_allclose(one[0], two[0], atol=1e-12)
    np.testing.assert_array_equal(one[1], two[1])


def test_too_little_memory_is_told():
    rows = _blobs(700, 8)
    with pytest.raises(UserError, match="raise max_memory"):
        _rerank(rows[:20], rows[20:], 30, max_memory=100_000)


@pytest.mark.parametrize("settings", [{"k1": 0}, {"k2": 0}, {"k2": 30}, {"weight": 1.5}])
def test_settings_out_of_range_are_told(settings):
    rows = _blobs(50, 4)
    with pytest.raises(UserError, match=f"{next(iter(settings))}="):
        _rerank(rows[:2], rows[2:], 5, **settings)


def _dense_expansion(queries, table, n, alpha, without_self):
    gaps = np.square(queries[:, None] - table[None]).sum(axis=2)
    if without_self:
        np.fill_diagonal(gaps, np.inf)
    out = []
    for query, row in zip(queries, gaps, strict=True):
        total, weights = query.copy(), 1.0
        for near in np.argsort(row, kind="stable")[:n]:
            cosine = query @ table[near] / np.linalg.norm(query) / np.linalg.norm(table[near])
            total += max(cosine, 0) ** alpha * table[near]
            weights += max(cosine, 0) ** alpha
        out.append(total / np.linalg.norm(total))
    return np.array(out)


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_expansion_and_augmentation_are_what_the_dense_formulas_give(alpha):
    table = _blobs(2000, 12)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    wide = table.astype(np.float64)
    queries = wide[::100] + 0.05
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    search = _search(table)
    ours = expand_queries(queries, wide.__getitem__, search(queries, 5)[1], alpha)
    np.testing.assert_allclose(ours, _dense_expansion(queries, wide, 5, alpha, False), atol=1e-6)
    augmented = augment_rows(2000, wide.__getitem__, search, 4, alpha)
    np.testing.assert_allclose(augmented, _dense_expansion(wide, wide, 4, alpha, True), atol=1e-6)
