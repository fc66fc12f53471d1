"""The report of a run, composed from files that are written here: what is there, and what is told to be missing."""

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from dml import runs
from dml.embeddings import EmbeddingSet
from dml.errors import UserError
from dml.evaluation import Evaluation, QueryScores
from dml.evaluation.hubs import find_neighborhoods, write_neighborhoods
from dml.experiments.report import write_report
from dml.reports.events import read_curves

HOSTILE = "<script>alert(1)</script>"
HEADINGS = ("Scores", "Curves", "Gallery and projection", "Classes", "Confusion", "Label-noise suspects", "Hubness")
HEADINGS += ("Time and memory", "Protocol", "Recipe")


def _bare(folder):
    runs.write_bytes(folder / "config.yaml", f"data: '{HOSTILE}'\n".encode())
    return folder


def _log(folder, scalars):
    with SummaryWriter(str(folder)) as writer:
        for name, points in scalars.items():
            for step, value in points:
                writer.add_scalar(name, value, step)


def _neighbors(folder, class_names):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    rows = (10 * np.eye(3)[labels] + rng.normal(size=(60, 3))).astype(np.float32)
    labels = np.where(np.arange(60) == 7, 0, labels)  # 7 is of class 1
    side = EmbeddingSet(rows, labels)
    pictures = rng.integers(0, 255, (1, 5, 3, 8, 8), np.uint8)
    names = np.array([f"{HOSTILE}/{i}.png" for i in range(60)])
    more = {"names": names, "class_names": np.array(class_names), "votes": 5}
    near = find_neighborhoods(side, side, 10)
    write_neighborhoods(runs.neighbors_path(folder, "val"), near, suspects=[7], suspect_pictures=pictures, **more)


def _full(folder, intervals=True):
    _bare(folder)
    scores = {
        "val": {"knn_accuracy": 0.75, "map_at_r": 0.5, "num_lone_queries": 0.0, "loss": 1.5},
        "test": {"knn_accuracy": 0.7},
        "train": {"knn_accuracy": 1.0},
        "baselines": {"pixels": {"val": {"knn_accuracy": 0.25}}},
    }
    if intervals:
        scores["intervals"] = {"val": {"knn_accuracy": [0.7, 0.8125]}}
    runs.write_json(folder / "scores.json", scores)
    rows = {HOSTILE: {"precision": 0.25, "recall": 0.5, "f1": 1 / 3, "support": 4.0}}
    rows |= {f"class {i}": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 4.0} for i in range(150)}
    runs.write_json(folder / "classes_val.json", {"knn": rows})
    cost = {"training_seconds": 75.5, "processor_seconds": 9.0, "peak_memory_bytes": 2**31}
    protocol = {"seed": 0, "device": "cpu", "cost": cost, "data": {"source": HOSTILE, "trained_on": {"images": 600}}}
    runs.write_json(folder / "protocol.json", protocol)
    for name in ("gallery", "tsne", "weights", "another_one"):
        runs.write_bytes(folder / "pictures" / f"{name}.png", b"\x89PNG")
    _log(
        folder,
        {
            "train/loss": [(0, 2.0), (1, 1.0)],
            "val/loss": [(1, 1.5)],
            "val/map_at_r": [(0, 0.1), (1, 0.5)],
            "lr-SGD": [(0, 0.1), (1, 0.05)],
        },
    )
    _neighbors(folder, ["ash", HOSTILE, "oak"])
    return folder


def _report(read, folder):
    path = write_report(folder)
    assert path == folder / "report.html"
    return read(path.read_text(encoding="utf-8"))


def test_a_complete_run_has_every_section_and_is_safe(tmp_path, read_page):
    reader = _report(read_page, _full(tmp_path / "first"))
    text = "".join(reader.text)
    assert all(heading in text for heading in HEADINGS)
    assert "script" not in reader.tags
    for told in ("0.7500", "[0.7000, 0.8125]", "0.2500", "1 min 16 s", "2.00 GiB", "another one", f"{HOSTILE}/7.png"):
        assert told in text
    assert "10 of 10" in text
    assert "0.3333" in text
    assert "0.9967" in text  # the macro F1 of 151 classes
    assert "The 100 classes with the lowest F1 of 151." in text
    assert reader.tags.count("img") == 1 + 3 + 4 + 2 + 5  # scores, curves, pictures, confusion and hubs, one suspect
    assert "no intervals" not in text.replace("The test scores have no intervals", "")


def test_a_bare_run_says_what_is_missing_and_what_makes_it(tmp_path, read_page):
    folder = _bare(tmp_path / "first")
    text = "".join(_report(read_page, folder).text)
    assert all(heading in text for heading in HEADINGS)
    for command in (f"dml validate --run {folder}", f"dml evaluate --run {folder}", "--trainer.logger true"):
        assert command in text
    assert "This run holds no pictures" in text
    assert "no protocol.json" in text


def test_missing_intervals_are_told_with_the_command(tmp_path, read_page):
    folder = _full(tmp_path / "first", intervals=False)
    assert f"dml evaluate --run {folder} adds them" in "".join(_report(read_page, folder).text)


def test_missing_intervals_are_computed_from_the_record_of_the_queries(tmp_path, read_page):
    folder = _full(tmp_path / "first", intervals=False)
    rng = np.random.default_rng(0)
    queries = QueryScores({"knn_accuracy": rng.random(40)}, np.arange(40) % 4, np.arange(40), 0)
    queries.save(runs.queries_path(folder, "val"))
    assert f"dml evaluate --run {folder} adds them" in "".join(_report(read_page, folder).text)  # other queries'
    scores = runs.read_json(folder / "scores.json")
    scores["val"] |= Evaluation.of(queries).scores
    runs.write_json(folder / "scores.json", scores)
    before = (folder / "scores.json").read_bytes()
    low, high = Evaluation.of(queries).intervals()["knn_accuracy"]
    text = "".join(_report(read_page, folder).text)
    assert f"[{low:.4f}, {high:.4f}]" in text
    assert f"dml evaluate --run {folder} adds them" not in text
    assert (folder / "scores.json").read_bytes() == before


def test_the_same_files_give_the_same_page_but_for_the_time(tmp_path):
    folder = _full(tmp_path / "first")
    pages = [write_report(folder).read_text(encoding="utf-8") for _ in range(2)]
    lines = [[line for line in page.splitlines() if "written" not in line] for page in pages]
    assert lines[0] == lines[1]


def test_a_folder_that_is_not_a_run_and_broken_files_are_told(tmp_path):
    with pytest.raises(UserError, match="is not a run"):
        write_report(tmp_path)
    folder = _bare(tmp_path / "first")
    runs.write_bytes(folder / "scores.json", b"{")
    with pytest.raises(UserError, match="is not valid JSON"):
        write_report(folder)
    runs.write_json(folder / "scores.json", {})
    runs.write_bytes(runs.neighbors_path(folder, "val"), b"x")
    with pytest.raises(UserError, match="is not a NumPy archive"):
        write_report(folder)
    runs.write_json(runs.classes_path(folder, "val"), {"knn": {"ash": {"precision": 1.0}}})
    with pytest.raises(UserError, match="holds no scores of classes"):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_the_scoring_of_the_best_at_the_end_is_not_a_point_of_the_curve(tmp_path):
    _log(tmp_path, {"train/loss": [(0, 2.0), (9, 1.0)], "val/loss": [(4, 1.5), (9, 1.7)]})
    _log(tmp_path, {"val/loss": [(10, 1.5)], "train/knn_accuracy": [(10, 1.0)]})
    assert read_curves(tmp_path)["val/loss"] == ([4, 9], [1.5, pytest.approx(1.7)])


def test_a_resumed_run_has_one_curve(tmp_path):
    _log(tmp_path, {"train/loss": [(0, 4.0), (1, 3.0), (2, 9.0)]})
    _log(tmp_path, {"train/loss": [(2, 2.0), (3, 1.0)]})
    assert read_curves(tmp_path)["train/loss"] == ([0, 1, 2, 3], [4.0, 3.0, 2.0, 1.0])
