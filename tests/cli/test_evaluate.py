"""The verbs `evaluate` and `compare`, through the front door."""

import json
from pathlib import Path

import numpy as np
import pytest

from dml.cli import main
from dml.embeddings import EmbeddingSet
from dml.evaluation import retrieval_scores


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Embeddings and labels of 60 samples in x.npy and y.npy, in the current folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    y = np.arange(60) % 6
    x = (np.eye(6)[y] + 0.5 * rng.standard_normal((60, 6))).astype(np.float32)
    np.save("x.npy", x)
    np.save("y.npy", y)
    return x, y


def test_embeddings_from_files(files, capsys):
    assert main(["evaluate", "--embeddings", "x.npy", "--labels", "y.npy", "--verification", "--clustering"]) == 0
    written = json.loads(Path("scores.json").read_text())
    for name, value in retrieval_scores(*files).items():
        assert written["embeddings"][name] == value
    assert {"roc_auc", "equal_error_rate", "nmi", "ami"} <= written["embeddings"].keys()
    low, high = written["intervals"]["embeddings"]["map_at_r"]
    assert low <= written["embeddings"]["map_at_r"] <= high
    assert "60 queries, 60 references" in capsys.readouterr().out


def test_references_and_an_estimator(files):
    references = ["--reference_embeddings", "x.npy", "--reference_labels", "y.npy"]
    estimator = ["--estimator", "dml.neighbors.KNNClassifier", "--estimator_args", '{"k": 1}']
    assert main(["evaluate", "--embeddings", "x.npy", "--labels", "y.npy", *references, *estimator]) == 0
    written = json.loads(Path("scores.json").read_text())["embeddings"]
    assert written["recall_at_1"] == written["estimator_accuracy"] == 1.0  # every query finds its own copy


def archive(path, x, names, order=None):
    """What `dml predict` writes of images in class folders; "" for images without a label."""
    classes = order or sorted({*names})
    labels = [classes.index(name) for name in names]
    EmbeddingSet(x, labels, names=[f"{i}.png" for i in range(len(x))], class_names=classes).save(Path(path))


def test_archives_of_predict_match_their_classes_by_name(files, capsys):
    x, y = files
    names = [f"class {label}" for label in y]
    archive("one.npz", x, names)
    assert main(["evaluate", "--embeddings", "one.npz"]) == 0
    written = json.loads(Path("scores.json").read_text())["embeddings"]
    assert {name: written[name] for name in retrieval_scores(*files)} == retrieval_scores(*files)
    archive("two.npz", x[::-1], names[::-1], order=["more", *sorted({*names}, reverse=True)])
    assert main(["evaluate", "--embeddings", "one.npz", "--reference_embeddings", "two.npz"]) == 0
    written = json.loads(Path("scores.json").read_text())["embeddings"]
    truth = retrieval_scores(x, y, x[::-1], y[::-1])
    assert {name: written[name] for name in truth} == truth
    assert main(["evaluate", "--embeddings", "one.npz", "--labels", "y.npy"]) == 0  # other labels of these images
    assert main(["evaluate", "--embeddings", "one.npz", "--reference_embeddings", "x.npy"]) == 2
    references = ["--reference_embeddings", "x.npy", "--reference_labels", "y.npy"]
    capsys.readouterr()
    assert main(["evaluate", "--embeddings", "one.npz", *references]) == 2
    assert "only one of the two files names its classes" in capsys.readouterr().err
    assert main(["evaluate", "--embeddings", "one.npz", "--reference_labels", "y.npy"]) == 2
    assert "without --reference_embeddings" in capsys.readouterr().err


def test_images_without_a_label_are_left_out(files, capsys):
    x, y = files
    archive("some.npz", x, ["" if i % 10 == 0 else f"class {label}" for i, label in enumerate(y)])
    assert main(["evaluate", "--embeddings", "some.npz"]) == 0
    kept = np.arange(60) % 10 != 0
    written = json.loads(Path("scores.json").read_text())["embeddings"]
    assert written["map_at_r"] == retrieval_scores(x[kept], y[kept])["map_at_r"]
    out, err = capsys.readouterr()
    assert "6 images of some.npz have no label: left out" in err
    assert "54 queries" in out
    archive("none.npz", x, [""] * 60)
    assert main(["evaluate", "--embeddings", "none.npz"]) == 2
    assert "the images of none.npz have no labels: give --labels FILE" in capsys.readouterr().err


def test_truth_values_are_labels(files):
    x, y = files
    np.save("odd.npy", y % 2 == 1)
    assert main(["evaluate", "--embeddings", "x.npy", "--labels", "odd.npy"]) == 0
    written = json.loads(Path("scores.json").read_text())["embeddings"]
    assert written["map_at_r"] == retrieval_scores(x, y % 2)["map_at_r"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--embeddings", "x.npy"], "give --labels"),
        (["--embeddings", "no.npy", "--labels", "y.npy"], "no file no.npy"),
        (["--embeddings", "x.npy", "--labels", "x.npy"], "give one for each row"),
        (["--embeddings", "x.npy", "--labels", "y.npy", "--ks", "99"], "k=99 in ks is larger than the 59 references"),
        (["--embeddings", "x.npy", "--labels", "y.npy", "--ks", "a"], "not a list of whole numbers"),
        (["--embeddings", "x.npy", "--labels", "y.npy", "--metric", "l3"], "invalid choice"),
        (["--embeddings", "x.npy", "--labels", "y.npy", "--run", "r"], "neither a run nor a recipe"),
        (["--embeddings", "x.npy", "--labels", "y.npy", "--max_memory", "1kB"], "too small"),
        (["--embeddings", "x.npy", "--labels", "y.npy", "--estimator", "sklearn.Nothing"], "needs references apart"),
        (["--run", "nowhere"], "no run 'nowhere'"),
        ([], "no runs in runs"),
    ],
)
def test_mistakes_end_in_one_line(files, capsys, words, message):
    assert main(["evaluate", *words]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_compare_two_runs(files, capsys):
    fast = [
        "--trainer.max_epochs",
        "1",
        "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
        "--model.encoder.embedding_dim",
    ]
    for name, dim in (("one", "8"), ("two", "16")):
        assert main(["fit", "--name", name, *fast, dim]) == 0
    assert main(["compare", "one", "two"]) == 0
    out = capsys.readouterr().out
    assert "difference" in out
    assert json.loads(Path("runs/one/scores.json").read_text())["intervals"]["val"]["map_at_r"]
    assert main(["compare", "one", "two"]) == 0  # from the records
    assert capsys.readouterr().out in out


def test_compare_names_what_is_missing(files, capsys):
    assert main(["compare", "one", "two"]) == 2
    assert "no run 'one'" in capsys.readouterr().err
