"""A calibrated run says which queries are unknown, where the distance is from, and what it promises."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dml import runs
from dml.search import Store
from dml.search.embedder import RunEmbedder

RECORD = Path("runs/first/calibration.json")


@pytest.fixture
def calibrated(place):
    """The same, with the first run calibrated and an image of noise."""
    embedder = RunEmbedder("first", workers=0)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8)).save("noise.png")
    near = np.linalg.norm(embedder(["noise.png"]) - embedder(sorted(Path("digits").rglob("*.png"))), axis=1).min()
    record = {"threshold": 0.9 * float(near), "metric": "l2", "of": "pairs", "fmr": 0.001, "confidence": 0.95}
    counts = {"num_classes": 90, "num_references": 30, "classes_were_trained_on": False}
    runs.write_json(RECORD, record | counts | {"encoder_hash": embedder.encoder_hash, "split_hash": "x"})
    return place


def _change(**values):
    runs.write_json(RECORD, runs.read_json(RECORD) | values)


def _known(place, *words):
    code, out, err = place("search", "first", "noise.png", "-k", "1", "--json", *words)
    assert code == 0, err
    told = json.loads(out)
    assert (told["threshold"] is None) == (told["threshold_of"] is None)
    return told["queries"][0]["known"], told["threshold_of"], err


def test_the_calibration_of_the_run_decides(calibrated):
    code, out, err = calibrated("index", "first", "--add", "digits")
    assert code == 0
    assert "dml: the index keeps runs/first/calibration.json: threshold " in err
    known, source, err = _known(calibrated)
    assert not known
    assert source.endswith("/runs/first/calibration.json")
    told = "at most 0.001 of pairs of different classes match, with confidence 0.95 (90 classes)\n"
    assert err.endswith(told)
    assert _known(calibrated, "--threshold", "1e9") == (True, "--threshold", "")
    assert _known(calibrated, "--no_threshold") == (True, None, "")
    code, out, _ = calibrated("search", "first", "noise.png", next(Path("digits").rglob("*.png")), "-k", "1")
    assert code == 0
    assert out.count("unknown: the nearest is at") == 1
    code, out, _ = calibrated("index", "first")
    assert out.splitlines()[-1].startswith("unknown  threshold ")

    assert Store(Path("runs/first/index.npz")).about.calibration["fmr"] == 0.001
    RECORD.unlink()
    known, source, _ = _known(calibrated)
    assert (known, source) == (False, "the calibration in runs/first/index.npz")


def test_a_calibration_found_after_the_index_counts(calibrated):
    record = RECORD.read_bytes()
    RECORD.unlink()
    assert calibrated("index", "first", "--add", "digits")[2] == ""
    assert _known(calibrated) == (True, None, "")
    RECORD.write_bytes(record)
    _change(of="searches", fpir=0.05, classes_were_trained_on=True)
    known, _, err = _known(calibrated)
    assert not known
    assert "at most 0.05 of searches" in err
    assert "in an index of 30 images; this one has 40, so more will; no promise for new classes" in err
    calibrated("index", "first", "--add", "digits")
    assert Store(Path("runs/first/index.npz")).about.calibration["fpir"] == 0.05


@pytest.mark.parametrize(
    ("values", "words", "told"),
    [
        ({"encoder_hash": "0" * 32}, (), "runs/first/calibration.json is of another encoder: not used"),
        ({"metric": "cosine"}, (), "is in metric cosine, not l2: not used"),
        ({}, ("--expand", "2"), "not for --expand: not used"),
        ({}, ("--rerank", "--augment", "2"), "not for --augment and --rerank: not used"),
    ],
)
def test_one_that_does_not_fit_is_told_and_not_used(calibrated, values, words, told):
    record = runs.read_json(RECORD)
    RECORD.unlink()
    calibrated("index", "first", "--add", "digits")
    runs.write_json(RECORD, record | values)
    known, source, err = _known(calibrated, *words)
    assert (known, source) == (True, None)
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("content", ["", "[]", "{", '{"threshold": NaN}', '{"threshold": "far", "of": "pairs"}'])
def test_a_damaged_record_is_told(calibrated, content):
    calibrated("index", "first", "--add", "digits")
    RECORD.write_text(content)
    code, out, err = calibrated("search", "first", "noise.png")
    assert (code, out) == (2, "")
    assert "calibration.json" in err
    assert err.count("\n") == 1
    assert _known(calibrated, "--no_threshold")[0]
