"""`dml project`: maps of a run and of a file, and one line for each mistake."""

import sys
from pathlib import Path

import numpy as np
import pytest

from dml.embeddings import EmbeddingSet
from dml.errors import UserError
from dml.evaluation.projection import project


def test_a_run_and_a_file(dml, small):
    code, _, err = dml("fit", "--name", "first", "--trainer.max_epochs=1", *small[1:])
    assert code == 0, err
    code, out, err = dml("project", "--run", "first", "--method", "tsne", "--max_points", "60")
    assert code == 0, err
    assert "of 359 embeddings, t-SNE" in out
    assert Path("runs/first/pictures/tsne.png").read_bytes()[1:4] == b"PNG"
    rng = np.random.default_rng(0)
    EmbeddingSet(rng.normal(size=(50, 4)), np.arange(50) % 2, class_names=["a", "b"]).save(Path("x.npz"))
    code, out, err = dml("project", "--embeddings", "x.npz", "--method", "pca", "--output", "x.png")
    assert code == 0, err
    assert "50 of 50 embeddings, PCA" in out
    assert Path("x.png").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--run", "nowhere"), "no run 'nowhere'"),
        (("--embeddings", "x.npz"), "needs --output"),
        (("--embeddings", "x.npz", "--output", "x.png"), "no file x.npz"),
        (("--method", "lda"), "invalid choice"),
        (("--max_points", "1"), "at least 2"),
    ],
    ids=" ".join,
)
def test_mistakes(dml, words, told):
    code, _, err = dml("project", *words)
    assert code == 2
    assert told in err


def test_separated_classes_stay_apart_and_few_points_are_shown_by_pca():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    points = rng.normal(size=(80, 10)) + 20 * labels[:, None]
    for method in ("pca", "tsne"):
        flat, how = project(points, method)
        centres = np.stack([flat[labels == c].mean(axis=0) for c in (0, 1)])
        nearest = ((flat[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        assert (nearest == labels).all(), how
    assert project(points[:10], "tsne")[1] == "PCA"
    for method in ("tsne", "pca"):  # t-SNE of them would end the process
        flat, how = project(np.ones((40, 3)), method)
        assert (flat.shape, flat.any(), how) == ((40, 2), False, "all are one point")
    with pytest.raises(UserError, match="at least two points of two dimensions"):
        project(points[:, :1], "pca")


def test_umap_or_the_line_that_it_is_missing(monkeypatch):
    points = np.random.default_rng(0).normal(size=(40, 5))
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match="UMAP is not installed"):
        project(points, "umap")


def test_umap_where_it_is_installed():
    pytest.importorskip("umap", reason="UMAP is an optional package")
    flat, how = project(np.random.default_rng(0).normal(size=(40, 5)), "umap")
    assert flat.shape == (40, 2)
    assert how == "UMAP, 15 neighbours"
