"""Two runs are told apart by one score; the others' p-values are corrected for their number."""

import numpy as np
import pytest

from dml import runs
from dml.cli import main
from dml.evaluation import QueryScores, holm, paired_difference, sign_flips


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Records of two runs, `one` and `two`, in runs/."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels, ids = np.repeat(np.arange(8), 5), np.arange(40)
    saved = []
    for name, better in (("one", 0.0), ("two", 0.1)):
        scores = {score: rng.random(40) * 0.4 + better for score in ("recall_at_1", "mrr", "map_at_r", "ndcg")}
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("{}")
        saved.append(QueryScores(scores, labels, ids, 0))
        saved[-1].save(runs.queries_path(folder, "val"))
    return saved


def printed(out):
    return {line.split()[0]: line.split() for line in out.splitlines()[1:] if line and "[" in line}


@pytest.mark.parametrize("primary", ["map_at_r", "mrr"])
def test_the_primary_score_stands_first_and_alone(tables, capsys, primary):
    words = [] if primary == "map_at_r" else ["--primary", primary]
    assert main(["compare", "one", "two", *words]) == 0
    out = capsys.readouterr().out
    rows = printed(out)
    changes = {name: paired_difference(*tables, name) for name in tables[0].scores}
    assert next(iter(rows)) == primary
    assert rows.keys() == changes.keys()
    assert rows[primary][-1] == "primary"
    corrected = holm({name: change.p_value for name, change in changes.items() if name != primary})
    for name, value in corrected.items():
        assert rows[name][-1] == f"{value:.4f}"
    for name, change in changes.items():
        assert rows[name][-2] == f"{change.p_value:.4f}"
        assert f"[{change.low:+.4f}, {change.high:+.4f}]" in out
    assert f"{primary} decides; the other p-values are corrected for 3 tests (Holm)" in out


def test_few_classes_are_told_what_their_sign_flips_say(tables, capsys, tmp_path):
    assert main(["compare", "one", "two"]) == 0
    flips, t_test = sign_flips(*tables, "map_at_r"), paired_difference(*tables, "map_at_r")
    told = capsys.readouterr().out.splitlines()[-1]
    assert told == (
        f"With only 8 classes: over all 256 sign flips p is {flips.p_value:.4f}, at least {flips.least:.4f}."
    )
    assert flips.least == 2 / 256
    assert (t_test.p_value < 0.05) == (flips.p_value < 0.05)
    for classes, words in ((4, "the interval alone decides"), (8, "the larger p holds"), (13, "")):
        labels = np.arange(5 * classes) % classes
        steps = np.linspace(0.1, 0.2, classes) if classes != 8 else np.array([0.4] * 7 + [-0.39])
        for name, scores in (("one", np.full(5 * classes, 0.5)), ("two", 0.5 + steps[labels])):
            table = QueryScores({"map_at_r": scores}, labels, np.arange(5 * classes), 0)
            table.save(runs.queries_path(tmp_path / "runs" / name, "val"))
        assert main(["compare", "one", "two", "--level", "0.98" if classes == 8 else "0.95"]) == 0
        out = capsys.readouterr().out
        assert words in out
        assert ("flips" in out) == (classes < 13)


def test_an_unknown_primary_score_is_one_line(tables, capsys):
    assert main(["compare", "one", "two", "--primary", "speed"]) == 2
    told = capsys.readouterr().err
    assert "primary score 'speed' is not in both runs: choose one of recall_at_1, mrr" in told
    assert told.count("\n") == 1


def test_runs_on_other_images_of_the_same_places_and_labels_are_refused(tables, capsys, tmp_path):
    for name, table, images in zip(("one", "two"), tables, ("a" * 16, "b" * 16), strict=True):
        path = runs.queries_path(tmp_path / "runs" / name, "val")
        table._replace(images=images).save(path)
        assert QueryScores.load(path).images == images
    assert main(["compare", "one", "two"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "dml: the runs scored different images: compare runs on the same data, split and seed"
    ]
    tables[0].save(runs.queries_path(tmp_path / "runs" / "one", "val"))  # of a version that did not name them
    assert main(["compare", "one", "two"]) == 0
