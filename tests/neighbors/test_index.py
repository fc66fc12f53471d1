"""The index against brute force, backend against backend, with ties, duplicates and collapsed rows."""

import faiss
import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from dml.errors import UserError
from dml.neighbors import NeighborIndex, torch_search

NAMES = {"l1": "cityblock", "l2": "euclidean", "linf": "chebyshev", "cosine": "cosine"}
BACKENDS = ["faiss", "torch"]


def brute_force(q, x, k, metric):
    table = cdist(q.astype(np.float64), x.astype(np.float64), NAMES[metric])
    positions = np.argsort(table, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(table, positions, 1), positions


@pytest.mark.parametrize("metric", NAMES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_with_brute_force(metric, backend):
    rng = np.random.default_rng(0)
    x, q = rng.standard_normal((500, 40)).astype(np.float32), rng.standard_normal((30, 40)).astype(np.float32)
    distances, positions = NeighborIndex(metric, backend).add(x[:200]).add(x[200:]).search(q, 7)
    truth, where = brute_force(q, x, 7, metric)
    assert (positions == where).all()
    np.testing.assert_allclose(distances, truth, rtol=1e-6)


@pytest.mark.parametrize("metric", NAMES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("k", [1, 5, 300])
def test_ties_go_to_the_first_position(metric, backend, k):
    rng = np.random.default_rng(1)
    x = np.repeat(rng.integers(1, 4, (30, 3)), 10, axis=0).astype(np.float32)
    q = rng.integers(1, 4, (20, 3)).astype(np.float32)
    positions = NeighborIndex(metric, backend).add(x).search(q, k)[1]
    same = NeighborIndex(metric, "faiss" if backend == "torch" else "torch").add(x).search(q, k)[1]
    assert (positions == same).all()
    if metric != "cosine":  # whole numbers: brute force has no rounding
        assert (positions == brute_force(q, x, k, metric)[1]).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_collapsed_rows_are_still_told_apart(backend):
    rng = np.random.default_rng(2)
    x = 5 + 1e-5 * rng.standard_normal((400, 64)).astype(np.float32)
    positions = NeighborIndex("l2", backend).add(x).search(x[:50], 5)[1]
    assert (positions == brute_force(x[:50], x, 5, "l2")[1]).all()


def test_products_are_never_rounded_to_half_precision(monkeypatch):
    x = np.random.default_rng(3).standard_normal((60, 8)).astype(np.float32)
    seen = []
    distances = torch_search._distances
    monkeypatch.setattr(
        torch_search,
        "_distances",
        lambda *given: seen.append(torch.get_float32_matmul_precision()) or distances(*given),
    )
    torch.set_float32_matmul_precision("medium")  # bfloat16 on some CPUs, TF32 on GPUs: no error bound would hold
    try:
        NeighborIndex("l2", "torch").add(x).search(x, 5)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert set(seen) == {"highest"}


def test_faiss_searches_on_a_gpu_where_its_build_can(monkeypatch):
    x = np.random.default_rng(4).standard_normal((50, 8)).astype(np.float32)
    if not hasattr(faiss, "StandardGpuResources"):
        with pytest.raises(UserError, match="on the CPU alone"):
            NeighborIndex("l2", "faiss", "cuda:1")
        monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    asked = []

    def knn_gpu(resources, q, rows, k, metric, device):  # stands in for a GPU
        asked.append(device)
        return faiss.knn(q, rows, k, metric=metric)

    monkeypatch.setattr(faiss, "knn_gpu", knn_gpu, raising=False)
    positions = NeighborIndex("l2", "faiss", "cuda:1").add(x).search(x, 3)[1]
    assert asked == [1]
    assert (positions == brute_force(x, x, 3, "l2")[1]).all()


def test_auto_says_its_choice():
    assert NeighborIndex("l2").backend == "faiss"
    assert NeighborIndex("linf").backend == "torch"
    assert NeighborIndex("l2", device="cuda").backend == "torch"
    assert "backend='faiss'" in repr(NeighborIndex("l1"))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: NeighborIndex("l3"), "unknown metric 'l3'"),
        (lambda x: NeighborIndex("l2", "gpu"), "unknown backend 'gpu'"),
        (lambda x: NeighborIndex().search(x, 1), "index is empty"),
        (lambda x: NeighborIndex().add(x).search(x, 0), "k=0"),
        (lambda x: NeighborIndex().add(x).search(x, 4), "between 1 and 3"),
        (lambda x: NeighborIndex().add(x).search(x[:, :1], 1), "rows have 1 numbers"),
        (lambda x: NeighborIndex().add(x * np.nan), "3 of 3 rows hold NaN"),
        (lambda x: NeighborIndex().add(x[0]), "give a table"),
        (lambda x: NeighborIndex().add(1e200 * x.astype(np.float64)), r"too large \(up to 1.4e\+200 long\)"),
        (lambda x: NeighborIndex().add(1e19 * x), "squared distances overflow"),
    ],
)
def test_bad_input_is_one_clear_line(call, words):
    with pytest.raises(UserError, match=words):
        call(np.ones((3, 2)))
