"""`dml evaluate --queries`: a run's encoder on any images, among its training images or any others."""

import json

import numpy as np
import pytest
from PIL import Image

from dml.evaluation import retrieval_scores

RECIPE = """
model:
  class_path: dml.modules.EmbeddingModule
  init_args:
    encoder: {class_path: dml.encoders.LinearEncoder, init_args: {embedding_dim: 6}}
    loss: {class_path: dml.losses.TripletLoss, init_args: {margin: 1.0}}
data: {root: all, image_size: 6, channels: 1, batch_size: 30, classes_per_batch: null, cache: false}
evaluation: {ks: [1, 2], k: 3, baselines: false}
pictures: {projection: none, gallery_queries: 1, gallery_neighbors: 1}
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false}
"""


def draw(file, pattern, noise):
    pixels = np.random.default_rng(pattern).integers(0, 200, (6, 6)) + noise.integers(0, 50, (6, 6))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(file)


def draw_classes(folder, classes, count, seed):
    noise = np.random.default_rng(seed)
    for name in classes:
        for i in range(count):
            draw(folder / name / f"{i}.png", list(name.encode()), noise)


def scored(folder):
    return json.loads((folder / "scores.json").read_text())["queries"]


def test_any_images_are_scored_by_the_names_of_their_classes(dml, tmp_path):
    draw_classes(tmp_path / "all", ["ash", "birch", "oak", "yew"], 15, seed=0)
    draw_classes(tmp_path / "new", ["birch", "elm", "yew"], 5, seed=1)  # numbered otherwise
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    code, _, err = dml("fit", "--config", "recipe.yaml", "--name", "first")
    assert code == 0, err

    code, out, err = dml("evaluate", "--run", "first", "--queries", "new", "--references", "train")
    assert code == 0, err
    assert "15 queries, 36 references" in out
    found = scored(tmp_path)
    assert found["num_lone_queries"] == 5  # elms
    assert found["recall_at_1"] > 0.9
    assert {*json.loads((tmp_path / "classes_queries.json").read_text())["knn"]} >= {"birch", "yew"}

    assert dml("evaluate", "--run", "first", "--queries", "all", "--references", "new")[0] == 0
    among_new = scored(tmp_path)
    for path, name in (("all", "a.npz"), ("new", "n.npz")):
        assert dml("predict", path, "--run", "first", "--output", name)[0] == 0
    files = ["--embeddings", "a.npz", "--reference_embeddings", "n.npz", "--ks", "1,2", "--knn_ks", "3"]
    code, _, err = dml("evaluate", *files)
    assert code == 0, err
    files_say = json.loads((tmp_path / "scores.json").read_text())["embeddings"]
    assert files_say == pytest.approx(among_new, abs=1e-6)

    assert dml("evaluate", "--run", "first", "--queries", "new")[0] == 0
    with np.load(tmp_path / "n.npz") as archive:
        truth = retrieval_scores(archive["embeddings"], archive["labels"], ks=(1, 2), knn_ks=(3,))
    assert scored(tmp_path) == pytest.approx(truth, abs=1e-6)
    assert dml("evaluate", "--run", "first", "--queries", "new", "--references", "new")[0] == 0
    assert scored(tmp_path) == pytest.approx(truth, abs=1e-6)

    one_shot = tmp_path / "one_shot"
    for run in ("run01", "run02"):  # the same drawings twice: only within a run is the right one the nearest
        noise = np.random.default_rng(int(run[-1]))
        for part in ("training", "test"):
            for i in range(4):
                draw(one_shot / run / part / f"{i}.png", i, noise)
        lines = [f"{run}/test/{i}.png {run}/training/{i}.png" for i in range(4)]
        (one_shot / run / "class_labels.txt").write_text("\n".join(lines))
    asked = ["evaluate", "--run", "first", "--queries", "one_shot", "--ks", "1", "--knn_ks", "1"]
    code, out, err = dml(*asked)
    assert code == 0, err
    assert "8 queries, 8 references" in out
    own = scored(tmp_path)
    assert own["num_lone_queries"] == 0
    assert dml(*asked, "--evaluation.groups", "any")[0] == 0
    assert scored(tmp_path)["mrr"] < own["mrr"]

    for words, told in (
        (["--references", "train"], "give --queries FOLDER too"),
        (["--queries", "nowhere"], "no folder or file 'nowhere': give an existing one in --queries"),
        (["--queries", "new", "--references", "nowhere"], "give an existing one in --references"),
        (["--queries", "new", "--split", "test"], "leave --embeddings and --split out"),
        (["--queries", "new", "--ckpt_path", "x.ckpt"], "x.ckpt"),
        (["--queries", "one_shot", "--references", "new"], "no class name in common ('run01/0' there, 'birch' here)"),
    ):
        code, _, err = dml("evaluate", "--run", "first", *words)
        assert code == 2
        assert told in err
        assert err.count("\n") == 1
