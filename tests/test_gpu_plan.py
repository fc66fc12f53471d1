"""What is run on a GPU runs small on any machine, to the end, and leaves its page."""

import importlib
import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dml import runs
from dml.cli import main

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "gpu.py"


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = np.arange(400) % 10
    images = np.random.default_rng(0).integers(0, 255, (400, 32, 32, 3), dtype=np.uint8)
    np.savez("images.npz", images=images, labels=labels)
    return ["--root", str(tmp_path / "images.npz"), "--scale", "0.003", "--output", "gpu.md"]


def _check(page, parts):
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"failed: .*|left out: .*|fails: .*", text) == []
    assert text.count("\n## ") == parts
    assert "none differ between CPU and cpu" in text


def _without_training(words):
    def fit(words):
        with pytest.raises(SystemExit, match=r"\A0\Z"):
            main([*words, "--print_config"])  # its keys are read
        named = dict(itertools.pairwise(words))
        run = Path(named["--runs_dir"], named["--name"])
        runs.write_json(run / runs.SCORES, {"val": {"knn_accuracy": 0.5}})
        runs.write_json(run / runs.PROTOCOL, {})
        return 0

    sys.path.insert(0, str(SCRIPT.parent))
    plan = importlib.import_module("gpu")
    plan.dml = fit
    del plan.PARTS["Input"]
    sys.argv = [str(SCRIPT), *words]
    plan.main()


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the plan itself is run")
def test_every_part_is_planned_and_what_trains_nothing_runs_on_the_cpu(words, in_process):
    assert in_process(_without_training, words) == 0
    _check(Path("gpu.md"), 6)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the plan itself is run")
def test_every_part_of_the_plan_runs_on_the_cpu(words, run_script):
    code, _, err = run_script(SCRIPT, *words)
    assert code == 0, err[-2000:]
    _check(Path("gpu.md"), 7)
