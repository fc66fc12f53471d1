"""`dml probe`: the whole table from the front door, resumed cell by cell; every mistake in one line."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from dml import runs

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
QUICK = ("--steps", "4", "--trainer.accelerator", "cpu")


@pytest.fixture
def run(dml, small):
    code, _, err = dml("fit", "--name", "first", "--trainer.max_epochs=1", *small[1:], "--pictures.projection=none")
    assert code == 0, err
    return Path("runs/first")


def test_the_table_the_records_and_the_picture(dml, run):
    code, out, err = dml("probe", "first", "--labelled", "1,0.1", "--seeds", "0", *QUICK)
    assert code == 0, err
    rows = ["knn, frozen", "knn, random encoder", "linear, frozen", "linear, random encoder"]
    rows += ["mlp, frozen", "mlp, random encoder", "fine-tuned", "from scratch"]
    table = out.partition("per class")[2]
    assert all(table.count(row) == 1 for row in rows)
    lines = list(csv.DictReader((run / "probe" / "probe.csv").open()))
    assert len(lines) == 16
    assert {(line["labelled"], line["images"]) for line in lines} == {("1", "10"), ("0.1", "108")}
    assert {line["row"] for line in lines} == set(rows)
    assert (run / "pictures" / "probe.png").read_bytes()[1:4] == b"PNG"
    assert not (run / "probe" / "work").exists()

    before = json.loads((run / "probe" / "probe.json").read_text())
    code, out, _ = dml("probe", "first", "--labelled", "1,0.1", "--seeds", "0", *QUICK)
    assert code == 0
    assert "16 cells, 16 of them recorded" in out
    assert json.loads((run / "probe" / "probe.json").read_text()) == before

    dropped = dict(list(before["cells"].items())[:-1])  # as if it had been stopped before its last cell
    (run / "probe" / "probe.json").write_text(json.dumps({**before, "cells": dropped}))
    code, out, _ = dml("probe", "first", "--labelled", "1,0.1", "--seeds", "0", *QUICK)
    assert "16 cells, 15 of them recorded" in out
    assert json.loads((run / "probe" / "probe.json").read_text()) == before  # and it comes out the same


def _one_line(dml, *words):
    code, _, err = dml(*words)
    assert code == 2, err
    (line,) = [line for line in err.splitlines() if line.startswith("dml: ")]
    assert "Traceback" not in err
    return line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--labelled", "1.5"), "give a share in (0, 1]"),
        (("--labelled", "0"), "give a share in (0, 1]"),
        (("--labelled", "many"), "no list of numbers"),
        (("--labelled", "0.001"), "leaves class"),
        (("--labelled", "5000"), "ask for fewer"),
        (("--methods", "svm"), "no method 'svm'"),
        (("--seeds", "x"), "no list of whole numbers"),
        (("--data.root", "gone"), "gone"),
    ],
    ids=" ".join,
)
def test_mistakes(dml, run, words, told):
    assert told in _one_line(dml, "probe", "first", *words, *QUICK)
    assert not (run / "probe").exists()


def test_a_run_that_is_gone_or_incomplete(dml, run):
    assert "no run 'nowhere'" in _one_line(dml, "probe", "nowhere")
    checkpoint = run / "checkpoints" / "best.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    assert "broken checkpoint" in _one_line(dml, "probe", "first")
    checkpoint.unlink()
    assert "no checkpoint 'best'" in _one_line(dml, "probe", "first")


def test_unseen_classes_cannot_be_named(dml, run):
    line = _one_line(dml, "probe", "first", "--data.split", "dml.data.ClassDisjointSplit", *QUICK)
    assert "no head can name the held-back ones" in line


def test_the_split_is_the_runs_own_under_every_seed(run):
    from dml.experiments.probed_data import open_data

    recipe = yaml.safe_load((run / runs.CONFIG).read_text())
    block = open_data(recipe, []).block
    assert block["split"] == {"class_path": "dml.data.StratifiedSplit", "init_args": {"seed": 0}}
    assert runs.read_json(run / runs.PROTOCOL)["data"]["training_images_left_out_by_labelled"] == 0
