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
KEYS += (
    "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
    "--evaluation.k=1",
    "--trainer.enable_progress_bar=false",
)
WORK = {"walk": 1, "read": 60, "decode_all": 1, "read_cache": 2, "find_flaws": 1, "assign_parts": 1, "split_hash": 1}


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
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1200)
    return done, {path.stem: json.loads(path.read_text()) for path in counts.glob("rank*.json")}


def load_script():
    spec = importlib.util.spec_from_file_location("one_rank", ROOT / "tests" / "one_rank.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def counted_fit(words, counts):
    script = load_script()
    found, rank = script.count_work(), os.environ.get("LOCAL_RANK", "0")
    code = script.main(list(map(str, words)))
    (counts / f"rank{rank}.json").write_text(json.dumps(found | {"code": code}))


def counted_plain(root, counts):
    script = load_script()
    found, rank = script.count_work(), os.environ["LOCAL_RANK"]
    scores = script.train_plain(str(root), 2)
    (counts / f"rank{rank}.json").write_text(json.dumps(found))
    (counts / f"scores{rank}.json").write_text(json.dumps(scores))


@pytest.fixture
def counts(tmp_path, monkeypatch):
    """A folder for what processes counted, and for the cache; the current folder is above it."""
    (tmp_path / "counts").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DML_CACHE", str(tmp_path / "counts"))
    return tmp_path / "counts"


def _of_both(counts):
    return [json.loads((counts / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def test_two_of_torchrun_prepare_once(photos, counts, under_torchrun):
    under_torchrun(counted_fit, 2, ["fit", "--data.root", photos, *KEYS, "--trainer.devices", 2], counts)
    assert _of_both(counts) == [{**WORK, "code": 0}, {"code": 0}]


def test_a_mistake_ends_two_of_torchrun_in_one_line(photos, counts, under_torchrun, capfd):
    (photos / "a" / "0.png").write_bytes(b"x")
    under_torchrun(counted_fit, 2, ["fit", "--data.root", photos, *KEYS, "--trainer.devices", 2], counts)
    err = capfd.readouterr().err
    (told,) = [line for line in err.splitlines() if "cannot be read" in line]
    assert told.startswith("dml: image 'a/0.png' cannot be read")
    assert "Traceback" not in err
    first, second = _of_both(counts)
    assert (first["code"], second) == (2, {"code": 2})
    assert not Path("runs").exists()


def test_two_of_a_plain_trainer_prepare_once(photos, counts, under_torchrun):
    under_torchrun(counted_plain, 2, photos, counts)
    first, second = _of_both(counts)
    assert (first["decode_all"], second) == (1, {})


@pytest.mark.slow
def test_the_front_door_prepares_once_and_scores_as_one_process(photos, tmp_path):
    words = ("dml", "fit", "--data.root", photos, *KEYS)
    for processes in (1, 2):
        more = ("--trainer.devices", processes, "--name", f"by-{processes}")
        done, counts = start(tmp_path, *words, *more, cache=f"cache-{processes}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert counts == {"rank0": WORK} | ({"rank1": {}} if processes == 2 else {})
    one, two = (json.loads((tmp_path / "runs" / f"by-{n}" / "scores.json").read_text()) for n in (1, 2))
    assert one["baselines"] == two["baselines"]
    assert one["val"] == pytest.approx(two["val"], abs=1e-3)  # sums in another order


@pytest.mark.slow
def test_a_mistake_ends_both_in_one_line(photos, tmp_path):
    (photos / "a" / "0.png").write_bytes(b"x")
    done, counts = start(tmp_path, "dml", "fit", "--data.root", photos, *KEYS, "--trainer.devices", 2)
    told = [line for line in done.stderr.splitlines() if "cannot be read" in line]
    assert (done.returncode, len(told)) == (2, 1), done.stderr
    assert told[0].startswith("dml: image 'a/0.png' cannot be read")
    assert "Traceback" not in done.stderr
    assert counts["rank1"] == {}
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_plain_trainer_prepares_once_and_scores_as_one_process(photos, tmp_path, monkeypatch):
    done, counts = start(tmp_path, "plain", photos, 2)
    assert done.returncode == 0, done.stderr
    assert counts["rank0"]["decode_all"] == 1
    assert counts["rank1"] == {}
    two = json.loads((tmp_path / "cache" / "scores1.json").read_text())
    monkeypatch.setenv("DML_CACHE", str(tmp_path / "alone"))
    one = load_script().train_plain(str(photos), 1)
    assert one == pytest.approx(two, abs=1e-5)
