"""`dml calibrate` and `dml compress` on a small run: what they write and print, and what they refuse in one line."""

import json

import numpy as np
import pytest
from PIL import Image

from dml import runs
from dml.data import Digits


def record(run):
    return runs.read_json(run / "calibration.json")


@pytest.fixture
def trained(dml, small, tmp_path):
    split = ("--data.split=dml.data.ClassDisjointSplit", "--data.split.val=5", "--data.split.test=0")
    nested = ("--model.loss=dml.losses.MatryoshkaLoss", "--model.loss.dims=[8,64]")
    inner = ("--model.loss.loss=dml.losses.TripletLoss", "--model.loss.loss.margin=0.5")
    code, _, err = dml("fit", "--name=first", *small, *split, *nested, *inner)
    assert code == 0, err
    return tmp_path / "runs" / "first"


def test_calibrate_and_compress_a_run_of_unseen_classes(dml, trained):
    code, out, err = dml("calibrate", "first", "--fmr=1e-3", "--trainer.accelerator=cpu")
    assert code == 2
    assert "needs at least 78 classes, and these count as 5" in err
    assert not (trained / "calibration.json").exists()

    code, out, err = dml("calibrate", "first", "--fmr=0.4")
    assert code == 0, err
    written = record(trained)
    assert written["metric"] == "l2"
    assert (written["fmr"], written["confidence"], written["num_classes"]) == (0.4, 0.95, 5)
    assert (written["of"], written["classes_were_trained_on"]) == ("pairs", False)
    assert written["split_hash"] == runs.read_json(trained / "protocol.json")["data"]["split_hash"]
    assert len(written["encoder_hash"]) == 32
    assert 0 < written["on_these_classes"]["fmr"]["rate"] <= 0.4
    assert f"{written['threshold']:.6g}  (l2)" in out
    assert "AUROC of `unknown`" in out
    assert "ClassDisjointSplit" not in out

    code, out, err = dml("calibrate", "first", "--fmr=0.4", "--evaluation.metric=cosine")
    assert code == 0, err
    assert "not written without --output" in out
    assert record(trained) == written

    pixels = Digits().open().reader(0)
    Image.fromarray(np.asarray(pixels, np.uint8)).save("digit.png")
    code, out, err = dml("index", "first", "--add", "digit.png")
    assert code == 0, err
    code, out, err = dml("search", "first", "digit.png", "-k", "1", "--json")
    assert json.loads(out)["threshold"] == written["threshold"]
    assert "first/calibration.json: at most 0.4 of pairs" in err

    code, out, err = dml("compress", "first", "--dims=8,64", "--bits=1,32", "--ways=cut", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [(row["dims"], row["bits"], row["bytes"]) for row in found["rows"]] == [
        (8, 1, 1),
        (8, 32, 32),
        (64, 1, 8),
        (64, 32, 256),
    ]
    assert found["rows"][3]["scores"]["map_at_r"] == pytest.approx(found["full"]["map_at_r"], abs=1e-6)
    own = runs.read_scores(trained / "scores.json")["val"]["map_at_r"]
    assert found["full"]["map_at_r"] == pytest.approx(own, abs=1e-6)
    code, out, err = dml("compress", "first", "--dims=65")
    assert (code, "65 of --dims, and the embedding has 64" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("calibrate",), "required: RUN"),
        (("calibrate", "nowhere"), "no run 'nowhere'"),
        (("calibrate", "first", "--fmr=0"), "--fmr"),
        (("calibrate", "first", "--fmr=.1", "--fpir=.1"), "not allowed with"),
        (("calibrate", "first", "--confidence=1"), "--confidence"),
        (("compress", "first", "--bits=17"), "17 bits: give 32, or 1 to 16"),
        (("compress", "first", "--dims=0"), "--dims"),
        (("compress", "first", "--ways=zip"), "give cut, pca or cut,pca"),
    ],
)
def test_mistakes_end_in_one_line(dml, words, told):
    code, out, err = dml(*words)
    assert (code, out) == (2, "")
    assert told in err
    assert err.count("\n") == 1
