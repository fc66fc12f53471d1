"""`dml probe`: the whole table from the front door, resumed cell by cell; every mistake in one line."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

from dml import runs
from dml.cli import main
from dml.experiments.probe import _untrained

pytestmark = pytest.mark.usefixtures("collected")
QUICK = ("--steps", "4", "--trainer.accelerator", "cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    keys = (
        "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu",
        "--trainer.logger=false",
        "--evaluation.baselines=false",
    )
    encoder = (
        "--model.encoder.channels=[8,16]",
        "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
    )
    assert main(["fit", "--runs_dir", str(folder), "--name", "first", *keys, *encoder]) == 0
    return folder / "first"


@pytest.fixture
def run(dml, trained):
    shutil.copytree(trained, "runs/first")
    return Path("runs/first")


def test_the_table_the_records_and_the_picture(dml, run):
    words = ("probe", "first", "--seeds", "0", *QUICK)
    code, out, err = dml(*words, "--per_class", "1")
    assert code == 0, err
    rows = ["knn, frozen", "knn, random encoder", "linear, frozen", "linear, random encoder"]
    rows += ["mlp, frozen", "mlp, random encoder", "fine-tuned", "from scratch"]
    assert all(out.partition("per class")[2].count(row) == 1 for row in rows)
    lines = list(csv.DictReader((run / "probe" / "probe.csv").read_text().splitlines()))
    assert [line["row"] for line in lines] == rows
    assert {(line["labelled"], line["images"]) for line in lines} == {("1", "10")}
    assert (run / "pictures" / "probe.png").read_bytes()[1:4] == b"PNG"
    assert not (run / "probe" / "cell").exists()

    before = json.loads((run / "probe" / "probe.json").read_text())
    dropped = dict(list(before["cells"].items())[:-1])  # as if it had been stopped before its last cell
    (run / "probe" / "probe.json").write_text(json.dumps({**before, "cells": dropped}))
    code, out, _ = dml(*words, "--per_class", "1")
    assert "8 cells, 7 of them recorded" in out
    assert json.loads((run / "probe" / "probe.json").read_text()) == before  # and it comes out the same
    code, out, _ = dml(*words, "--per_class", "1,2", "--methods", "knn")
    assert "4 cells, 2 of them recorded" in out
    code, out, _ = dml(*words, "--shares", "0.1", "--methods", "knn")
    assert "2 cells, 0 of them recorded" in out
    assert "10 %" in out


def _one_line(dml, *words):
    code, _, err = dml(*words)
    assert code == 2, err
    (line,) = [line for line in err.splitlines() if line.startswith("dml: ")]
    assert "Traceback" not in err
    return line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--shares", "1.5"), "not a list of shares in (0, 1]"),
        (("--shares", "0"), "not a list of shares in (0, 1]"),
        (("--shares", "many"), "not a list of shares in (0, 1]"),
        (("--shares", "0.001"), "leaves class"),
        (("--per_class", "0"), "at least 1"),
        (("--per_class", "0.5"), "not a list of whole numbers"),
        (("--per_class", "5000"), "ask for fewer"),
        (("--per_class", "1", "--shares", "1"), "not allowed with"),
        (("--labelled", "1"), "--labelled is now --shares"),
        (("--data.labelled", "1"), "data.labelled is now data.labelled_per_class"),
        (("--methods", "svm"), "no method 'svm'"),
        (("--seeds", "x"), "not a list of whole numbers"),
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
    from dml.experiments.probe_data import open_data

    recipe = yaml.safe_load((run / runs.CONFIG).read_text())
    block = open_data(recipe, []).block
    assert block["split"] == {"class_path": "dml.data.StratifiedSplit", "init_args": {"seed": 0}}
    assert runs.read_json(run / runs.PROTOCOL)["data"]["training_images_left_out"] == 0


def test_the_random_encoder_starts_without_weights_at_the_size_they_chose():
    block = {"class_path": "dml.encoders.TorchvisionEncoder", "init_args": {"weights": "w.pth", "image_size": None}}
    assert _untrained(block, 224)["init_args"] == {"weights": None, "image_size": 224}
    assert block["init_args"]["weights"] == "w.pth"


def test_a_second_probe_of_the_run_is_refused_while_the_first_works(dml, run):
    with runs.held(run / "probe"):
        code, _, err = dml("probe", "first", "--seeds", "0", "--per_class", "1", *QUICK)
    assert code == 2
    assert "another process is at work" in err
