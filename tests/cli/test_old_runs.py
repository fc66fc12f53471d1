"""Runs of an earlier version are read: keys that have other names now are translated."""

import json
from pathlib import Path

import yaml

OLD = {"augmentation": {"flip": 0.5}, "labelled": 1.0}


def make_old(run):
    """Write a run's recipe as an earlier version wrote it."""
    path = Path(run) / "config.yaml"
    recipe = yaml.safe_load(path.read_text())
    for key in ("transform", "labelled_share", "labelled_per_class", "sampler"):
        recipe["data"].pop(key, None)
    recipe["data"] |= OLD
    path.write_text(yaml.safe_dump(recipe))


def test_every_verb_takes_an_old_run(dml, small):
    assert dml("fit", "--name", "first", *small)[0] == 0
    before = json.loads(Path("runs/first/scores.json").read_text())["val"]
    make_old("runs/first")
    code, _, err = dml("evaluate", "--run", "first")
    assert code == 0, err
    assert json.loads(Path("runs/first/scores.json").read_text())["val"] == before
    code, _, err = dml("audit", "--run", "first", "--near", "2")
    assert code == 0, err
    code, _, err = dml("fit", "--name", "first", "--ckpt_path", "last", "--trainer.max_epochs=3")
    assert code == 0, err


def test_a_recipe_of_ones_own_is_told_the_new_name(dml, tmp_path):
    Path("mine.yaml").write_text(yaml.safe_dump({"data": OLD}))
    code, _, err = dml("fit", "--config", "mine.yaml")
    assert code == 2
    assert "is now data." in err
    assert err.count("\n") == 1
