"""Every scoring of the test part is on record, and later runs tell of it."""

import hashlib
import json

import pytest

from dml import runs
from dml.cli import main
from dml.errors import UserError


def test_lines_are_added_and_never_changed(tmp_path):
    tmp_path = tmp_path / "runs" / "first"
    tmp_path.mkdir(parents=True)
    weights = tmp_path / "best.ckpt"
    weights.write_bytes(b"weights")
    assert [runs.record_reading(tmp_path, "test", weights, "a") for _ in range(2)] == [0, 1]
    kept = (tmp_path / runs.READINGS).read_bytes()
    (tmp_path / runs.READINGS).write_bytes(kept + b'{"cut o')  # a line that a full disk cut off
    assert runs.read_readings(tmp_path)[2] == {}
    assert runs.read_readings(tmp_path)[0]["checkpoint"] == hashlib.sha256(b"weights").hexdigest()[:16]
    with (tmp_path / runs.READINGS).open("ab") as file:
        file.write(b"\n")
    assert runs.record_reading(tmp_path, "evaluate", None, "b") == 3
    assert (tmp_path / runs.READINGS).read_bytes().startswith(kept)
    assert runs.readings_of(tmp_path.parent, "a") == {"first": 2}
    assert runs.readings_of(tmp_path.parent, "c") == {}
    folder = tmp_path / "other"
    (folder / runs.READINGS).mkdir(parents=True)
    with pytest.raises(UserError, match=r"test_readings\.jsonl cannot be read"):
        runs.read_readings(folder)


def test_verbs_that_score_the_test_part_are_recorded_and_the_next_run_tells(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fast = [
        "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu",
        "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
    ]
    fast += ["--evaluation.baselines=false", "--model.encoder.channels=[4]"]
    assert main(["fit", "--name", "one", *fast]) == 0
    one = tmp_path / "runs" / "one"
    assert main(["validate", "--run", "one"]) == 0
    assert not (one / runs.READINGS).exists()
    assert main(["test", "--run", "one"]) == 0
    assert "before" not in capsys.readouterr().out
    assert main(["evaluate", "--run", "one", "--split", "test"]) == 0
    assert "the test images of this run were scored once before" in capsys.readouterr().out
    lines = runs.read_readings(one)
    assert [line["verb"] for line in lines] == ["test", "evaluate"]
    protocol = json.loads((one / "protocol.json").read_text())
    assert protocol["test_part_scored_before_by"] == {}
    assert {line["test_part"] for line in lines} == {protocol["data"]["test_part"]}
    assert main(["fit", "--name", "two", *fast]) == 0
    told = json.loads((tmp_path / "runs" / "two" / "protocol.json").read_text())
    assert told["test_part_scored_before_by"] == {"one": 2}
    assert main(["report", "one"]) == 0
    assert "2 times, last" in (one / "report.html").read_text()
