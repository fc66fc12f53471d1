"""EmbeddingSet: checked once, found by identity, gathered as arrays, saved without pickles."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dml.embeddings import EmbeddingSet, drop_self, find_ids, query_and_reference, unit_rows
from dml.errors import UserError


@pytest.mark.parametrize(
    ("rows", "labels", "ids", "message"),
    [
        (np.zeros(3), [0, 1, 2], None, "give one row per sample"),
        (np.zeros((3, 0)), [0, 1, 2], None, "give one row per sample"),
        (np.zeros((0, 2)), [], None, "the query set is empty"),
        (np.array([[np.nan], [1.0]]), [0, 1], None, "1 of 2 query embeddings hold NaN or infinity, the first in row 0"),
        (np.zeros((2, 1)), [0], None, "give one for each row"),
        (np.zeros((2, 1)), [0.5, 1], None, "not whole numbers"),
        (np.zeros((2, 1)), [0, 1], ["a", "b"], "not whole numbers"),
    ],
)
def test_what_cannot_be_scored_is_refused(rows, labels, ids, message):
    with pytest.raises(UserError, match=message):
        EmbeddingSet(rows, labels, ids)


def test_tensors_half_precision_and_bools_are_taken():
    found = EmbeddingSet(torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True), torch.tensor([True, False]))
    assert found.embeddings.dtype == np.float32
    assert found.labels.tolist() == [1, 0]
    assert EmbeddingSet(np.ones((1, 1)), [0]).embeddings.dtype == np.float64


def test_padding_counts_once_with_its_names():
    found = EmbeddingSet([[3.0], [1.0], [9.0]], [0, 1, 0], ids=[3, 1, 3], names=["c", "a", "x"])
    assert (found.ids.tolist(), found.names.tolist(), found.embeddings.ravel().tolist()) == ([3, 1], ["c", "a"], [3, 1])


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20, unique=True), st.lists(st.integers(0, 30), max_size=20))
def test_ids_are_found_where_they_stand(ids, wanted):
    truth = [ids.index(i) if i in ids else -1 for i in wanted]
    assert find_ids(np.array(wanted, dtype=np.int64), np.array(ids)).tolist() == truth


def test_a_query_is_not_its_own_neighbour_by_identity():
    reference_ids = np.array([10, 11, 12, 13])
    found = np.array([[0, 1, 2], [3, 1, 0], [2, 3, 1]])
    distances = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 2.0], [0.5, 1.0, 2.0]])
    ids = np.array([11, 13, 99])
    assert drop_self(found, found, ids, reference_ids).tolist() == [[0, 2], [1, 0], [2, 3]]
    assert drop_self(distances, found, ids, reference_ids).tolist() == [[0.0, 1.0], [1.0, 2.0], [0.5, 1.0]]


def test_every_class_is_among_few_shown_samples():
    shown = EmbeddingSet(np.zeros((1000, 2)), np.arange(1000) % 10).spread_evenly(20)
    assert set(shown.labels.tolist()) == set(range(10))
    assert len(shown) == 20


def test_cosine_is_the_order_of_rows_of_length_one():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((30, 5))
    rows[3] = 0
    one = EmbeddingSet(rows, np.zeros(30, int))
    assert one.in_metric("l2") is one
    np.testing.assert_allclose(np.linalg.norm(one.in_metric("cosine").embeddings[[0, 3]], axis=1), [1, 0])
    np.testing.assert_array_equal(one.in_metric("cosine").embeddings, unit_rows(rows))
    with pytest.raises(UserError, match="unknown metric 'l3'"):
        one.in_metric("l3")


def test_files_are_read_back_and_others_refused(tmp_path):
    one = EmbeddingSet(np.eye(3), [0, 1, 1], [7, 8, 9], ["a", "ä", "漢"], ["x", "y"])
    one.save(tmp_path / "e.npz")
    again = EmbeddingSet.load(tmp_path / "e.npz")
    assert again.equals(one)
    assert (again.names.tolist(), again.class_names) == (["a", "ä", "漢"], ("x", "y"))
    np.savez(tmp_path / "pickled.npz", embeddings=np.array([{}], dtype=object))
    for name, message in (("pickled.npz", "is not a NumPy archive"), ("no.npz", "no file")):
        with pytest.raises(UserError, match=message):
            EmbeddingSet.load(tmp_path / name)
    np.savez(tmp_path / "other.npz", labels=np.arange(3), ids=np.arange(3))
    with pytest.raises(UserError, match="holds no embeddings"):
        EmbeddingSet.load(tmp_path / "other.npz")


def test_references_without_ids_are_strangers():
    query, reference = query_and_reference(np.eye(2), [0, 1], np.eye(2), [0, 1], query_ids=[0, 1])
    assert not set(query.ids) & set(reference.ids)
    same, other = query_and_reference(np.eye(2), [0, 1])
    assert same is other


def test_it_needs_no_torch():
    code = "import sys, dml.embeddings, dml.neighbors.index; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def _gather(rank, size, folder):
    count = (3, 0, 2)[rank]
    ids = np.array([[4, 0, 2], [], [2, 9]][rank] if rank != 1 else [], dtype=np.int64)
    rows = ids[:, None].astype(np.float32) if count else np.zeros((0, 1), np.float32)
    found = EmbeddingSet.gather(rows, ids % 2, ids)
    np.save(f"{folder}/{rank}.npy", np.stack([found.embeddings[:, 0], found.labels, found.ids]))
    try:
        EmbeddingSet.gather(np.zeros((1, 1 + rank)), [0], [rank])
    except UserError as error:
        assert "different sizes: 1, 2, 3" in str(error)  # noqa: PT017 - in a process of its own
    else:
        raise AssertionError("not refused")


def test_samples_of_all_processes_once_in_the_order_of_their_ids(tmp_path, in_group):
    in_group(_gather, 3, str(tmp_path))
    for rank in range(3):
        found = np.load(tmp_path / f"{rank}.npy")
        assert found[0].tolist() == found[2].tolist() == [0, 2, 4, 9]
        assert found[1].tolist() == [0, 0, 0, 1]
