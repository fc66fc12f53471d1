"""Several processes of one training: one prepares the data, and a mistake is told once."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
KEYS = ("--data.image_size=8", "--data.batch_size=12", "--data.classes_per_batch=3", "--trainer.max_epochs=1")
KEYS += ("--model.encoder.channels=[4]", "--model.encoder.embedding_dim=4", "--trainer.accelerator=cpu")
KEYS += ("--pictures.projection=none", "--evaluation.k=1", "--trainer.enable_progress_bar=false")
pytestmark = pytest.mark.slow


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(60):
        path = tmp_path / "photos" / "abc"[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 99, (12, 12, 3), dtype=np.uint8)
        pixels[..., i % 3] += 100
        Image.fromarray(pixels).save(path)
    return tmp_path / "photos"


def start(folder, *words, cache="cache"):
    """Run the counting script in a folder of its own; return how it ended, and what each process did."""
    counts = folder / cache
    counts.mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DML_CACHE": str(counts)}
    command = [sys.executable, str(ROOT / "tests" / "one_rank.py"), str(counts), *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    return done, {path.stem: json.loads(path.read_text()) for path in counts.glob("rank*.json")}


def test_the_front_door_prepares_once_and_scores_as_one_process(photos, tmp_path):
    words = ("dml", "fit", "--data.root", photos, *KEYS)
    work = {
        "walk": 1,
        "read": 60,
        "decode_all": 1,
        "read_cache": 2,
        "find_flaws": 1,
        "assign_parts": 1,
        "split_hash": 1,
    }
    for processes in (1, 2):
        more = ("--trainer.devices", processes, "--name", f"by-{processes}")
        done, counts = start(tmp_path, *words, *more, cache=f"cache-{processes}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert counts == {"rank0": work} | ({"rank1": {}} if processes == 2 else {})
    one, two = (json.loads((tmp_path / "runs" / f"by-{n}" / "scores.json").read_text()) for n in (1, 2))
    assert one["baselines"] == two["baselines"]
    assert one["val"] == pytest.approx(two["val"], abs=1e-3)  # sums in another order


def test_a_mistake_ends_both_in_one_line(photos, tmp_path):
    (photos / "a" / "0.png").write_bytes(b"x")
    done, counts = start(tmp_path, "dml", "fit", "--data.root", photos, *KEYS, "--trainer.devices", 2)
    told = [line for line in done.stderr.splitlines() if "cannot be read" in line]
    assert (done.returncode, len(told)) == (2, 1), done.stderr
    assert told[0].startswith("dml: image 'a/0.png' cannot be read")
    assert "Traceback" not in done.stderr
    assert counts["rank1"] == {}
    assert not (tmp_path / "runs").exists()


def test_a_plain_trainer_prepares_once_and_scores_as_one_process(photos, tmp_path, monkeypatch):
    done, counts = start(tmp_path, "plain", photos, 2)
    assert done.returncode == 0, done.stderr
    assert counts["rank0"]["decode_all"] == 1
    assert counts["rank1"] == {}
    two = json.loads((tmp_path / "cache" / "scores1.json").read_text())
    monkeypatch.setenv("DML_CACHE", str(tmp_path / "alone"))
    spec = importlib.util.spec_from_file_location("one_rank", ROOT / "tests" / "one_rank.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    one = script.train_plain(str(photos), 1)
    assert one == pytest.approx(two, abs=1e-5)
