"""Neighbours of scored images, against a plain loop."""

import numpy as np
import pytest

from dml.embeddings import EmbeddingSet
from dml.errors import UserError
from dml.evaluation.hubs import (
    Neighborhoods,
    find_neighborhoods,
    find_suspects,
    occurrences,
    read_neighborhoods,
    write_neighborhoods,
)


def _side(rng, count, first_id):
    rows = rng.normal(size=(count, 3)).astype(np.float32)
    return EmbeddingSet(rows, rng.integers(0, 4, count), np.arange(first_id, first_id + count))


def _loop(query, reference, k):
    """Ids of the k nearest of each query, itself left out."""
    found = []
    for row, own in zip(query.embeddings.astype(np.float64), query.ids, strict=True):
        distances = np.sqrt(((reference.embeddings.astype(np.float64) - row) ** 2).sum(axis=1))
        order = [i for i in np.argsort(distances, kind="stable") if reference.ids[i] != own]
        found.append([reference.ids[i] for i in order[:k]])
    return np.array(found)


@pytest.mark.parametrize("own", [False, True], ids=["references apart", "leave-one-out"])
def test_neighbours_are_those_of_a_loop(own):
    rng = np.random.default_rng(0)
    query = _side(rng, 40, 100)
    reference = query if own else _side(rng, 60, 500)
    near = find_neighborhoods(query, reference, 7)
    np.testing.assert_array_equal(near.neighbor_ids, _loop(query, reference, 7))
    label_of = dict(zip(reference.ids, reference.labels, strict=True))
    assert (near.neighbor_labels == np.vectorize(label_of.get)(near.neighbor_ids)).all()
    assert near.num_references == len(reference)
    assert (np.diff(near.distances, axis=1) >= 0).all()
    counts = occurrences(near, 7)
    expected = [int((near.neighbor_ids == i).sum()) for i in reference.ids]
    assert sorted(counts) == sorted(expected)


def test_k_is_at_most_the_number_of_references():
    side = _side(np.random.default_rng(1), 5, 0)
    assert find_neighborhoods(side, side, 10).neighbor_ids.shape == (5, 4)
    assert find_neighborhoods(side, _side(np.random.default_rng(1), 5, 50), 10).neighbor_ids.shape == (5, 5)


def test_collapsed_embeddings_are_not_their_own_neighbours():
    side = EmbeddingSet(np.zeros((30, 2), np.float32), np.arange(30) % 3)
    near = find_neighborhoods(side, side, 4)
    assert (near.neighbor_ids != near.ids[:, None]).all()


def test_suspects_are_the_flipped_labels_of_well_parted_classes():
    rng = np.random.default_rng(2)
    labels = np.arange(90) % 3
    rows = (10 * np.eye(3)[labels] + rng.normal(size=(90, 3))).astype(np.float32)
    given = labels.copy()
    flipped = np.array([4, 41, 77])
    given[flipped] = (labels[flipped] + 1) % 3
    scored = EmbeddingSet(rows, given)
    near = find_neighborhoods(scored, scored, 10)
    suspects = find_suspects(near)
    assert set(suspects.positions) == set(flipped)
    assert dict(zip(suspects.positions, suspects.proposed, strict=True)) == {i: labels[i] for i in flipped}
    assert (np.diff(suspects.shares) <= 0).all()


def test_neighbours_that_disagree_accuse_nobody():
    near = Neighborhoods(
        np.array([0]), np.array([0]), np.array([[1, 1, 1, 2, 2]]), np.zeros((1, 5), int), np.zeros((1, 5)), 9
    )
    assert len(find_suspects(near, 5).positions) == 0


def test_a_record_is_read_back_with_what_goes_with_it(tmp_path):
    side = _side(np.random.default_rng(3), 12, 2**40)  # ids beyond 32 bits
    near = find_neighborhoods(side, side, 3)
    write_neighborhoods(tmp_path / "n.npz", near, names=np.array(["ä", "b"]))
    again, more = read_neighborhoods(tmp_path / "n.npz")
    for one, other in zip(near, again, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    assert more["names"].tolist() == ["ä", "b"]


def test_a_file_that_holds_none_is_told(tmp_path):
    (tmp_path / "n.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="is not a NumPy archive"):
        read_neighborhoods(tmp_path / "n.npz")
    np.savez(tmp_path / "n.npz", labels=np.arange(3))
    with pytest.raises(UserError, match="holds no neighbours: write it with `dml evaluate"):
        read_neighborhoods(tmp_path / "n.npz")
