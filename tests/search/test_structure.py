"""Factory structures: they are measured against the exact answer, and follow what is added and removed."""

import numpy as np
import pytest

from dml.errors import UserError
from dml.neighbors.approximate import ApproximateIndex
from dml.search import About, Searcher, Store, remove_images, update_store
from dml.search.store import Row, write_store
from dml.search.structure import encode, tune

N, D = 1200, 16


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(30, D))
    return (centres[generator.integers(0, 30, N)] + 0.3 * generator.normal(size=(N, D))).astype(np.float32)


def _write(path, rows, factory, metric="l2"):
    about = About("w", metric, factory=factory)
    codes, measured = encode(
        about, len(rows), rows.shape[1], lambda start: iter([rows[start:]]), None, np.empty((0, 2))
    )
    known = [Row("/p", f"{at}.png", "", "1", (1, 1), at) for at in range(len(rows))]
    write_store(path, about, known, [rows], rows.shape[1], codes)
    return measured


FACTORIES = ["IVF16,Flat", "HNSW16", "PQ8", "RaBitQ", "IVF16,PQ8", "IVF16,RaBitQ", "OPQ8,IVF16,PQ8", "SQ8"]


@pytest.mark.parametrize(
    ("factory", "metric"), [*((factory, "l2") for factory in FACTORIES), ("IVF16,PQ8", "cosine"), ("HNSW16", "cosine")]
)
def test_the_measured_recall_is_that_of_the_search(tmp_path, rows, factory, metric):
    path = tmp_path / "x.npz"
    measured = _write(path, rows, factory, metric)
    exact, last = measured[0], measured[-1]
    assert (exact.recall, exact.bytes) == (1.0, 4 * D)
    assert last.recall >= 0.95
    assert last.unrefined <= last.recall
    assert last.milliseconds > 0
    assert abs(last.bytes - Store(path).codes.size / N) < 1
    searcher = Searcher.load(path)
    places = np.sort(np.random.default_rng(1).choice(N, 500, replace=False))  # as they are measured
    queries = rows[places]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True) if metric == "cosine" else rows
    table = ((unit[places, None].astype(float) - unit[None]) ** 2).sum(axis=2)
    table[np.arange(500), places] = np.inf
    truth = np.argsort(table, axis=1)[:, :10]
    found = searcher(queries, 11)
    recall = np.mean([len(set(row) & set(true)) / 10 for row, true in zip(found.positions, truth, strict=True)])
    assert recall == pytest.approx(last.recall, abs=0.02)
    expected = (
        np.sqrt(np.where(np.isinf(table), 0, table)) if metric == "l2" else np.where(np.isinf(table), 0, table) / 2
    )
    own = np.take_along_axis(expected, found.positions, 1)
    np.testing.assert_allclose(found.distances, own, atol=1e-6)  # exact, whatever the codes say


def test_more_effort_finds_more(rows):
    index = ApproximateIndex("IVF64,Flat", D).train(rows).add(rows)
    measured = tune(index, lambda start: iter([rows]), N)
    recalls = [row.recall for row in measured[1:]]
    assert recalls == sorted(recalls)
    assert measured[1].name == "IVF64,Flat nprobe=1"
    assert index.effort == 2 ** (len(measured) - 2)
    again = ApproximateIndex.of_codes("IVF64,Flat", index.codes(), D, N)
    assert again.effort == index.effort


def test_a_query_for_which_too_little_is_proposed_is_searched_exactly(tmp_path, rows):
    _write(tmp_path / "x.npz", rows, "IVF64,Flat")
    searcher = Searcher.load(tmp_path / "x.npz")
    assert searcher(rows[:2], 1000).positions.min() >= 0
    np.testing.assert_array_equal(
        np.sort(searcher(rows[:2], N).positions, axis=1), np.broadcast_to(np.arange(N), (2, N))
    )


@pytest.mark.parametrize("factory", ["IVF2,Flat", "HNSW8", "PQ2x2"])
def test_a_structure_follows_what_is_added_and_removed(photos, tmp_path, encoder, listed, paint, factory):
    path = tmp_path / "x.npz"
    update_store(path, encoder(), [listed(photos)], factory=factory)
    paint(photos / "z" / "new.png", 90)
    assert update_store(path, encoder(), [listed(photos)])[:3] == (8, 1, 7)
    assert Store(path).about.factory == factory
    self_found = Searcher.load(path)(Store(path).embeddings, 1)
    np.testing.assert_array_equal(self_found.positions[:, 0], np.arange(8))
    remove_images(path, ["a/1.png"])
    paint(photos / "b" / "c" / "4.png", 91, (9, 9))
    assert update_store(path, encoder(), [listed(photos)])[:2] == (8, 2)  # and the one removed comes back
    np.testing.assert_array_equal(Searcher.load(path)(Store(path).embeddings, 1).positions[:, 0], np.arange(8))
    assert update_store(path, encoder(), [], factory="Flat").embedded == 0
    assert not len(Store(path).codes)


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        ("Nonsense", "FAISS makes no index of 'Nonsense'"),
        ("PQ7", "FAISS makes no index of 'PQ7' for 12"),
        ("IVF64,Flat", "cannot be trained on 7 images"),
        ("IVF99999999999,Flat", "asks for more than"),
        ("IDMap,Flat", "leave IDMap out"),
    ],
)
def test_what_faiss_cannot_make_is_told_and_nothing_written(photos, tmp_path, encoder, listed, factory, told):
    with pytest.raises(UserError, match=told):
        update_store(tmp_path / "x.npz", encoder(), [listed(photos)], factory=factory)
    assert not (tmp_path / "x.npz").exists()


def test_codes_of_another_index_are_refused(tmp_path, rows):
    codes = ApproximateIndex("HNSW8", D).add(rows[:50]).codes()
    for factory, dim, count in (("HNSW8", D, 51), ("HNSW8", 8, 50), ("PQ8", D, 50)):
        with pytest.raises(UserError, match="make it again"):
            ApproximateIndex.of_codes(factory, codes, dim, count)
    with pytest.raises(UserError, match="damaged"):
        ApproximateIndex.of_codes("HNSW8", codes[: len(codes) // 2], D, 50)
