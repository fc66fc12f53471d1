"""`dml list` names what can be chosen, and a recipe that comes with dml is found by its name from anywhere."""

import importlib
import inspect
import json
import subprocess
import sys

import pytest

from dml import runs
from dml.cli import main
from dml.cli.choices import KINDS
from dml.data import Source, Split
from dml.decoders import Decoder
from dml.encoders import Encoder


def listed(what, capsys):
    assert main(["list", what, "--json"]) == 0
    (rows,) = json.loads(capsys.readouterr().out).values()
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_is_a_class_path_and_every_one_has_its_line(kind, capsys):
    rows = listed(kind, capsys)
    assert rows
    for name, line in rows.items():
        module, _, attribute = name.rpartition(".")
        found = getattr(importlib.import_module(module), attribute)
        assert line
        assert " ".join(inspect.getdoc(found).split()).startswith(line)


@pytest.mark.parametrize(
    ("kind", "base"), [("encoders", Encoder), ("decoders", Decoder), ("data", Source), ("splits", Split)]
)
def test_nothing_that_is_exported_is_missing(kind, base, capsys):
    rows = listed(kind, capsys)
    module = importlib.import_module(KINDS[kind].prefix)
    made = [getattr(module, name) for name in getattr(module, "__all__", dir(module))]
    exported = {
        f"{KINDS[kind].prefix}.{one.__name__}"
        for one in made
        if inspect.isclass(one) and issubclass(one, base) and not inspect.isabstract(one)
    }
    assert exported <= {*rows, "dml.encoders.WrappedEncoder"}
    assert kind != "encoders" or "dml.encoders.pretrained_encoder" in rows


def test_scores_mean_something(capsys):
    assert listed("scores", capsys)["mrr"].startswith("mean of 1/rank")
    assert runs.describe_score("val/precision_at_10").endswith("k = 10")
    assert runs.describe_score("test/fnmr_at_fmr_0.001").endswith("pass: 0.001")
    assert runs.describe_score("no_such_score") == ""


def test_a_recipe_is_found_by_its_name_from_an_empty_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert {"digits/softmax", "data/mnist", "flowers/triplet_conv"} <= set(listed("recipes", capsys))
    for name in ("digits/softmax", "configs/digits/softmax.yaml"):
        assert runs.read_recipe_file(runs.recipe_file(name))["trainer"]["max_epochs"]
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "softmax").write_text("mine")
    assert runs.recipe_file("digits/softmax") == "digits/softmax"  # what the user has goes first
    assert main(["fit", "--config", "digits/sofmax"]) == 2
    assert "digits/sofmax" in capsys.readouterr().err


def test_neither_needs_torch():
    code = "import sys; from dml.cli import main; main(['list']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
