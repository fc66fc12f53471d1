"""The sections of a page of several runs, from values given here."""

from dml.reports.recipe_keys import differing_keys
from dml.reports.runs_page import (
    RankedRun,
    SweptScores,
    curves_section,
    differences_section,
    leaderboard_section,
    swept_section,
)

LOSS = ([1, 2], [2.0, 1.0])


def _run(name, at, data="digits (ab12)", margin=0.5):
    loss = {"class_path": "dml.losses.TripletLoss", "init_args": {"margin": margin}}
    recipe = {"model": {"init_args": {"loss": loss}, "class_path": "dml.modules.EmbeddingModule"}, "seed_everything": 0}
    pair = {"map_at_r": (at - 0.125, at + 0.125)}
    return RankedRun(name, data, {"map_at_r": at, "loss": 3.0}, pair, 90.0, {"train/loss": LOSS}, recipe)


def test_the_ranking_has_intervals_cost_and_a_warning_of_other_data():
    found = [_run("first", 0.75), _run("<b>", 0.5, data="flowers (cd34)")._replace(problem="not scored")]
    table, told, note, problem, _ = leaderboard_section(found, ["map_at_r", "loss"])
    assert "0.7500 [0.625, 0.875]" in table
    assert "1 min 30 s" in table
    assert "&lt;b&gt;" in table
    assert "R-precision that counts near hits more" in told
    assert "are not comparable" in note
    assert "not scored" in problem
    assert len(leaderboard_section(found[:1], ["map_at_r"])) == 3


def test_all_curves_of_a_number_are_in_one_picture_of_the_best_twelve():
    found = [_run(f"run {i}", 0.5) for i in range(14)]
    (pieces,) = curves_section(found, ["train/loss", "val/loss"])
    assert pieces.count("<img") == 1
    assert "train/loss of the 12 best runs of 14" in pieces
    assert "no curves" in curves_section([found[0]._replace(curves={})], ["train/loss"])[0]


def test_only_what_differs_between_the_recipes_is_listed():
    found = [_run("a", 0.5), _run("b", 0.5, margin=1.25)]
    (table,) = differences_section(found)
    assert "model.loss.margin" in table
    assert "seed_everything" not in table
    assert differences_section(found[:1]) == ["<p>The recipes are equal.</p>"]
    many = [_run(f"run {i}", 0.5, margin=i) for i in range(9)]
    assert differences_section(many)[0].count("<tr>") == 10  # a row for each run


def test_a_key_that_one_recipe_lacks_differs():
    pull = {"model": {"loss": {"class_path": "dml.losses.PullLoss"}, "parts": [{"class_path": "a.B"}]}}
    triplet = {"model": {"loss": {"class_path": "x.TripletLoss", "init_args": {"margin": None}}, "parts": []}}
    assert differing_keys({"one": pull, "two": triplet}) == {
        "model.loss": {"one": "PullLoss", "two": "TripletLoss"},
        "model.parts.0": {"one": "B", "two": ""},
        "model.loss.margin": {"one": "", "two": "none"},
        "model.parts": {"one": "", "two": "[]"},
    }


def test_a_sweep_shows_every_score_against_every_key():
    swept = SweptScores({"margin": [0.5, 1], "lr": [1, 1]}, {"map_at_r": [[0.25, 0.75], [1.0]], "loss": [[1.0], []]})
    picture, table, _ = swept_section(swept)
    assert "map_at_r against each key" in picture
    assert "0.5000 (2)" in table
    assert "1.0000 (1)" in table
