"""`dml report` from the outside, and what `fit` leaves for it."""

from pathlib import Path

import numpy as np
import pytest

from dml import runs
from dml.evaluation.hubs import read_neighborhoods
from dml.runs import neighbors_path


def test_a_run_is_reported_and_evaluate_adds_what_was_missing(dml, small):
    assert dml("fit", "--name", "first", *small, "--evaluation.k=7")[0] == 0
    scores = runs.read_json(Path("runs/first/scores.json"))
    cost = runs.read_json(Path("runs/first/protocol.json"))["cost"]
    assert 0 < cost["training_seconds"] < 300
    assert cost["peak_memory_bytes"] > 2**20
    near, more = read_neighborhoods(neighbors_path(Path("runs/first"), "val"))
    assert near.neighbor_ids.shape == (359, 10)
    assert near.num_references == 1079
    assert len(more["suspect_pictures"]) == min(24, len(more["suspects"]))
    # the record's own vote is the score's, but for level votes
    votes = np.array([np.bincount(row[: int(more["votes"])], minlength=10).argmax() for row in near.neighbor_labels])
    assert abs((votes == near.labels).mean() - scores["val"]["knn_accuracy"]) < 0.02
    code, out, _ = dml("report")
    assert code == 0
    assert "runs/first/report.html" in out
    page = Path("runs/first/report.html").read_text(encoding="utf-8")
    for heading in ("Scores", "Curves", "Confusion", "Label-noise suspects", "Hubness", "Time and memory"):
        assert f"<h2>{heading}</h2>" in page
    assert "no intervals" not in page
    neighbors_path(Path("runs/first"), "val").unlink()
    assert dml("evaluate", "--run", "first")[0] == 0
    evaluated = runs.read_json(Path("runs/first/scores.json"))
    assert evaluated["val"] == pytest.approx(scores["val"])  # the recipe's k votes, not another
    again, _ = read_neighborhoods(neighbors_path(Path("runs/first"), "val"))
    np.testing.assert_array_equal(again.neighbor_ids, near.neighbor_ids)
    assert dml("report", "first", "--output", "page.html")[0] == 0
    assert "no intervals" not in Path("page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("report", "nowhere"), "no run 'nowhere'"),
        (("report",), "no runs in runs"),
        (("report", "first", "second"), "no run 'first'"),
    ],
)
def test_a_mistake_is_one_line(dml, words, told):
    code, _, err = dml(*words)
    assert code == 2
    assert told in err
