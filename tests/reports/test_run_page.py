"""The sections of a run's page, from values given here."""

from pathlib import Path

import pytest

from dml.reports.run import Run
from dml.reports.run_page import cost_section, curves_section, pictures_section, protocol_section
from dml.reports.scores_section import lead, scores_section
from dml.runs import describe_score

BARE = Run(Path("runs/first"), "", {}, {}, {}, {})


@pytest.mark.parametrize("section", [scores_section, curves_section, pictures_section, protocol_section, cost_section])
def test_what_a_bare_run_lacks_is_a_note(section):
    (piece,) = section(BARE)
    assert piece.startswith('<p class="note">')


def test_scores_stand_beside_those_without_training_and_counts_are_whole():
    own = {"loss": 1.5, "knn_accuracy": 0.75, "num_lone_queries": 3.0}
    scores = {"test": own, "baselines": {"pixels": {"val": {"knn_accuracy": 0.1}, "test": {"knn_accuracy": 0.25}}}}
    table, _, note = scores_section(BARE._replace(scores=scores))
    assert "raw pixels (test)" in table
    rows = table.split("<tr>")[1:]
    assert [row.partition("<small>")[0].rpartition(">")[2] for row in rows[1:]] == [
        "knn_accuracy",
        "loss",
        "num_lone_queries",
    ]
    assert "0.7500" in rows[1]
    assert "0.2500" in rows[1]
    assert ">3<" in rows[3]
    assert "dml evaluate --run runs/first --split test" in note


def test_each_score_stands_once_explained_and_in_order_with_test_beside_the_same_baselines():
    val = {"precision_at_10": 0.5, "precision_at_5": 0.6, "mrr": 0.7, "map_at_r": 0.625}
    pixels = {"pixels": {"val": {"map_at_r": 0.125, "mrr": 0.25}}}
    scores = {"val": val, "test": {"map_at_r": 0.375}, "baselines": pixels, "intervals": {"test": {"map_at_r": [0, 1]}}}
    table = scores_section(BARE._replace(scores=scores))[0]
    head, *rows = table.split("<tr>")[1:]
    assert [row.partition("<small>")[0].rpartition(">")[2] for row in rows] == [
        "map_at_r",
        "precision_at_5",
        "precision_at_10",
        "mrr",
    ]
    assert all(describe_score(name) in table.replace("&#x27;", "'") for name in val)
    cells = [cell.partition("<")[0] for cell in rows[0].split('class="number">')[1:]]
    assert cells == ["0.3750", "[0.0000, 1.0000]", "0.6250", "", "0.1250"]
    assert head.index(">test<") < head.index(">validation<") < head.index("raw pixels (validation)")


def test_the_page_opens_with_what_the_scores_say_in_two_sentences():
    scores = {"val": {"knn_accuracy": 0.75, "map_at_r": 0.5}, "baselines": {"pixels": {"val": {"map_at_r": 0.25}}}}
    scores["baselines"]["pixels"]["val"]["knn_accuracy"] = 0.875
    told = lead(BARE._replace(scores=scores))
    assert told == "k-NN accuracy 0.750 is below raw pixels (0.875). MAP@R 0.500 is above raw pixels (0.250)."
    told = lead(BARE._replace(scores={"val": {"knn_accuracy": 0.75}}))
    assert told == "On the validation images: knn_accuracy 0.750. No baseline was scored on them to compare with."


def test_known_pictures_come_first():
    pictures = dict.fromkeys(("another_one", "gallery", "pca"), b"")
    captions = [piece.partition("<figcaption>")[2] for piece in pictures_section(BARE._replace(pictures=pictures))]
    assert captions[0].startswith("Queries")
    assert "principal components" in captions[1]
    assert captions[2].startswith("another one")


def test_a_constant_learning_rate_is_not_drawn():
    curves = {"train/loss": ([0, 1], [2.0, 1.0]), "lr-SGD": ([0, 1], [0.1, 0.1])}
    assert curves_section(BARE._replace(curves=curves))[0].count("<img") == 1
    for name in ("lr-SGD", "train/lr-SGD"):  # of any logger, and of a run's own
        drawn = curves_section(BARE._replace(curves=curves | {name: ([0, 1], [0.1, 0.05])}))
        assert drawn[0].count("<img") == 2
