"""A run is used from another folder than the one it was trained in: its data are found there, not here."""

import json
import shutil
from pathlib import Path

import pytest

from dml import runs
from dml.cli import main
from dml.runs import with_places

QUICK = ("--trainer.max_epochs=1", "--model.encoder.channels=[4]", "--data.batch_size=12")
QUICK += ("--trainer.accelerator=cpu", "--evaluation.baselines=false")
QUICK += ("--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",)


@pytest.fixture
def project(place, tmp_path, monkeypatch):
    """A run trained on `--data.root digits`, seen from a folder that has other images of that name."""
    (tmp_path / "project").mkdir()
    shutil.move("digits", "project/digits")
    monkeypatch.chdir("project")
    assert main(["fit", "--data.root", "digits", "--name", "first", *QUICK]) == 0
    recipe = runs.read_recipe_file(Path("runs/first/config.yaml"))
    assert recipe["data"]["root"] == "digits"  # as it was given: a moved project stays whole
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    shutil.copytree("../project/digits/3", "digits/3")
    return place, tmp_path / "project"


def test_it_is_scored_probed_searched_and_gone_on_with_from_elsewhere(project):
    dml, home = project
    run = home / "runs" / "first"
    recorded = runs.read_scores(run / "scores.json")["val"]
    code, out, err = dml("validate", "--run", run, "--json")
    assert code == 0, err
    assert json.loads(out)["scores"]["val"] == pytest.approx(recorded)
    code, _, err = dml(
        "probe", run, "--methods", "knn", "--seeds", "0", "--per_class", "1", "--trainer.accelerator=cpu"
    )
    assert code == 0, err
    code, _, err = dml("report", run)
    assert code == 0, err
    words = ("fit", "--runs_dir", run.parent, "--name", "first", "--ckpt_path", "last", "--trainer.max_epochs", "2")
    code, _, err = dml(*words)
    assert code == 0, err
    assert runs.read_recipe(run)["data"]["root"] == str(home / "digits")


def test_a_project_moves_as_a_whole_and_a_run_alone_says_what_is_missing(project, monkeypatch, tmp_path):
    dml, home = project
    home.rename(tmp_path / "moved")
    assert dml("validate", "--run", tmp_path / "moved" / "runs" / "first")[0] == 0
    shutil.move(tmp_path / "moved" / "runs" / "first", tmp_path / "alone")
    shutil.rmtree("digits")
    code, _, err = dml("validate", "--run", tmp_path / "alone")
    assert code == 2
    assert "'digits': give an existing one in data.root" in err
    code, _, err = dml("validate", "--run", tmp_path / "alone", "--data.root", tmp_path / "moved" / "digits")
    assert code == 0, err


def test_what_names_a_place_and_what_does_not(tmp_path, monkeypatch):
    run = tmp_path / "runs" / "first"
    run.mkdir(parents=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "w.pth").touch()
    runs.write_json(run / "protocol.json", {"working_directory": "../.."})
    other = {"class_path": "dml.encoders.pretrained_encoder", "init_args": {"run": "photos", "runs_dir": "runs"}}
    recipe = {
        "data": {"root": "photos", "name": "photos", "source": [{"root": "gone"}], "split": {"test": 0}},
        "model": {"init_args": {"encoder": {"init_args": {"weights": "w.pth"}}, "other": other}},
        "trainer": {"root": "photos"},
    }
    monkeypatch.chdir(tmp_path)
    assert with_places(recipe, Path("runs/first")) == recipe
    monkeypatch.chdir("photos")
    found = with_places(recipe, Path("../runs/first"))
    assert found["data"] == recipe["data"] | {"root": str(tmp_path / "photos")}
    assert found["trainer"] == recipe["trainer"]
    arguments = found["model"]["init_args"]
    assert arguments["encoder"]["init_args"]["weights"] == str(tmp_path / "w.pth")
    assert arguments["other"]["init_args"] == {"run": "photos", "runs_dir": str(tmp_path / "runs")}
    for content in (b"{}", b"[]", b"not JSON", b'{"working_directory": 3}'):
        (run / "protocol.json").write_bytes(content)
        assert with_places(recipe, run) == recipe
