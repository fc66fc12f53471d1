"""The sections of a run's page, from values given here."""

from pathlib import Path

import pytest

from dml.reports.run_page import Run, cost_section, curves_section, pictures_section, protocol_section, scores_section

BARE = Run(Path("runs/first"), "", {}, {}, {}, {})


@pytest.mark.parametrize("section", [scores_section, curves_section, pictures_section, protocol_section, cost_section])
def test_what_a_bare_run_lacks_is_a_note(section):
    (piece,) = section(BARE)
    assert piece.startswith('<p class="note">')


def test_scores_stand_beside_those_without_training_and_counts_are_whole():
    own = {"loss": 1.5, "knn_accuracy": 0.75, "num_lone_queries": 3.0}
    scores = {"test": own, "baselines": {"pixels": {"val": {"knn_accuracy": 0.1}, "test": {"knn_accuracy": 0.25}}}}
    table, _, note = scores_section(BARE._replace(scores=scores))
    rows = table.split("<tr>")[1:]
    assert [row.partition("</th>")[0].rpartition(">")[2] for row in rows[1:]] == [
        "knn_accuracy",
        "loss",
        "num_lone_queries",
    ]
    assert "0.7500" in rows[1]
    assert "0.2500" in rows[1]
    assert ">3<" in rows[3]
    assert "dml evaluate --run runs/first --split test" in note


def test_known_pictures_come_first():
    pictures = dict.fromkeys(("another_one", "gallery", "pca"), b"")
    captions = [piece.partition("<figcaption>")[2] for piece in pictures_section(BARE._replace(pictures=pictures))]
    assert captions[0].startswith("Queries")
    assert "principal components" in captions[1]
    assert captions[2].startswith("another one")


def test_a_constant_learning_rate_is_not_drawn():
    curves = {"train/loss": ([0, 1], [2.0, 1.0]), "lr-SGD": ([0, 1], [0.1, 0.1])}
    assert len(curves_section(BARE._replace(curves=curves))) == 1
    curves["lr-SGD"] = ([0, 1], [0.1, 0.05])
    assert len(curves_section(BARE._replace(curves=curves))) == 2
