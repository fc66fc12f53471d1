"""`--json`: one value that any JSON parser takes, alone on standard output, with the numbers of the table."""

import json
from pathlib import Path

import numpy as np
import pytest

from dml import runs
from dml.cli import VERBS, module_of
from dml.cli.shared.json_output import json_alone, json_text

CPU = ("--trainer.accelerator=cpu",)
WITHOUT = {  # print no table
    "completion",
    "convert",
    "export",
    "predict",
    "project",
    "report",
    "sweep",
}


def read(dml, *words, code=0):
    found, out, err = dml(*words, "--json")
    assert found == code, err
    return json.loads(out, parse_constant=pytest.fail), err


def table(dml, *words):
    code, out, err = dml(*words)
    assert code == 0, err
    return out


@pytest.mark.parametrize("verb", sorted(VERBS.keys() - WITHOUT))
def test_every_verb_that_prints_a_table_takes_it(verb):
    module = __import__(module_of(verb), fromlist=["build_parser"])
    assert "--json" in module.build_parser().format_help()


def test_numbers_that_json_lacks_are_null(capsys):
    value = {
        "a": float("nan"),
        "b": (np.float32("inf"), np.int64(3)),
        1: Path("x"),
        "c": np.bool_(True),
        "d": "ü\udce9",
    }
    text = json_text(value)
    assert json.loads(text, parse_constant=pytest.fail)["b"] == [None, 3]
    assert json.loads(text)["c"] is True
    text.encode("ascii")
    with json_alone(True) as print_json:
        print("on the way")
        print_json(value)
    out, err = capsys.readouterr()
    assert (out.strip(), err) == (text, "on the way\n")
    with json_alone(False):
        print("on the way")
    assert capsys.readouterr() == ("on the way\n", "")


def test_a_fit(dml, small):
    found, err = read(dml, "fit", "--name", "first", *small, "--trainer.max_epochs=1")
    recorded = runs.read_scores(Path("runs/first/scores.json"))
    assert found["scores"]["trained"] == pytest.approx(recorded["val"])
    assert found["scores"]["pixels"] == pytest.approx(recorded["baselines"]["pixels"]["val"])
    assert found["intervals"]["map_at_r"] == pytest.approx(recorded["intervals"]["val"]["map_at_r"])
    assert found["run"] == str(Path("runs/first"))
    assert found["better"] is False
    assert found["advice"][0].startswith("dml fit --config runs/first/config.yaml --name first-longer")
    assert found["verdict"] in err


def test_scoring_verbs(place):
    recorded = runs.read_scores(Path("runs/first/scores.json"))
    validated, _ = read(place, "validate", "--run", "first", *CPU)
    assert validated["scores"]["val"] == pytest.approx(recorded["val"])
    assert validated["written_to"] is None  # a key was given
    tested, _ = read(place, "test", "--run", "first")
    assert tested["scores"]["test"]["map_at_r"] > 0
    assert tested["written_to"] == str(Path("runs/first/scores.json"))
    for _ in range(2):  # computed, then as recorded
        evaluated, _ = read(place, "evaluate", "--run", "first")
        assert evaluated["scores"]["map_at_r"] == pytest.approx(recorded["val"]["map_at_r"])
        assert len(evaluated["intervals"]["map_at_r"]) == 2
        assert (evaluated["queries"], evaluated["references"]) == (359, 1079)


def test_a_comparison_and_its_file(place):
    quick = (
        "--trainer.max_epochs=1",
        "--model.encoder.channels=[4]",
        "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
    )
    assert place("fit", "--name", "third", *quick, *CPU)[0] == 0
    words = ("compare", "first", "third")
    lines = table(place, *words).splitlines()
    found, err = read(place, *words, "--output", "found.json")
    assert json.loads(Path("found.json").read_text()) == found
    row = next(line for line in lines if line.startswith("map_at_r")).split()
    own = found["scores"]["map_at_r"]
    assert [f"{own['first']:.4f}", f"{own['second']:.4f}", f"{own['difference']:+.4f}"] == row[1:4]
    assert found["primary"] == "map_at_r"
    assert list(own) == ["first", "second", "difference", "interval", "p_value", "corrected_p_value", "sign_flips"]
    assert own["sign_flips"]["classes"] == 10
    assert "written to found.json" in err


def test_an_audit_an_index_and_lists(place):
    audited, _ = read(place, "audit", "--data.root", "digits")
    assert sum(audited["images"].values()) == 40
    added, _ = read(place, "index", "first", "--add", "digits", "--factory", "PQ8x4")
    assert (added["total"], added["embedded"], added["failures"]) == (40, 40, [])
    assert {"name", "recall", "milliseconds"} <= added["measured"][0].keys()
    described, _ = read(place, "index", "first")
    assert (described["images"], sum(described["classes"].values())) == (40, 40)
    assert {row["name"] for row in read(place, "runs")[0]} == {"first", "second"}
    assert "dml.heads.LinearHead" in read(place, "list", "heads")[0]["heads"]


def test_a_probe_and_a_calibration(place):
    words = ("--per_class", "2", "--seeds", "0", "--methods", "knn", *CPU)
    probed, err = read(place, "probe", "first", *words)
    assert len(probed["accuracy"]["knn, frozen"]["2"]) == 1
    assert "validation accuracy" in err
    compressed, _ = read(place, "compress", "first", "--dims", "8", "--bits", "8", *CPU)
    assert [row["way"] for row in compressed["rows"]] == ["cut", "pca"]
    calibrated, _ = read(place, "calibrate", "first", "--fmr", "0.1", *CPU)
    assert calibrated["threshold"] > 0
