"""Files of a run that strangers made or a disk spoilt: one line, no waiting, nothing that acts on a terminal."""

import json
import os
import threading

import numpy as np
import pytest
import torch

from dml import cli, runs
from dml.cli.running.guards import check_checkpoint, disk_errors
from dml.embeddings import EmbeddingSet
from dml.errors import UserError, printable
from dml.reports import html

ODD = "a\x1b[2Jb\rc\u202ed\u2066e\x9bf\udcffg"


def one_line(told):
    assert len(str(told.value).splitlines()) == 1
    return str(told.value)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("place", ["fifo", "/dev/zero", "folder"])
def test_what_is_no_file_is_neither_read_nor_replaced(tmp_path, place):
    path = tmp_path / "x.npz"
    if place == "fifo":
        os.mkfifo(path)
    elif place == "folder":
        path.mkdir()
    else:
        path.symlink_to(place)
    for work in (runs.read_json, runs.read_arrays, runs.read_array, EmbeddingSet.load, runs.read_scores):
        with pytest.raises(UserError, match=r"not a regular file|not a NumPy archive"):
            work(path)
    with pytest.raises(UserError, match=r"cannot write .*not a regular file"):
        runs.write_bytes(path, b"x")
    assert not path.is_file()


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "\x00", '{"val": {"loss": NaN}}', '{"val": 1e999}', "9" * 5000]
)
def test_json_that_is_none(tmp_path, text):
    (tmp_path / "scores.json").write_text(text)
    with pytest.raises(UserError) as told:
        runs.read_json(tmp_path / "scores.json")
    assert "is not valid JSON" in one_line(told)


@pytest.mark.parametrize(
    "content",
    [
        *([], 3, {"val": 3}, {"val": {"loss": "low"}}, {"val": {"loss": [1]}}, {"val": {"loss": True}}),
        *({"baselines": {"pixels": {"val": 1}}}, {"intervals": {"val": {"loss": [1]}}}, {"intervals": {"val": 2}}),
    ],
)
def test_scores_of_another_form(tmp_path, content):
    (tmp_path / "scores.json").write_text(json.dumps(content))
    for work in (lambda path: runs.read_scores(path), lambda path: runs.write_scores(path, {"val": {"loss": 1.0}})):
        with pytest.raises(UserError, match=r"is not a file of scores .*: restore it or score again"):
            work(tmp_path / "scores.json")
    assert json.loads((tmp_path / "scores.json").read_text()) == content


def test_a_checkpoint_with_one_bit_changed(tmp_path):
    torch.save({"state_dict": {"weight": torch.zeros(1000)}}, tmp_path / "best.ckpt")
    check_checkpoint(tmp_path / "best.ckpt")
    content = bytearray((tmp_path / "best.ckpt").read_bytes())
    content[content.find(bytes(500)) + 250] = 7
    (tmp_path / "best.ckpt").write_bytes(content)
    with pytest.raises(UserError, match="is not a checkpoint, or is damaged"):
        check_checkpoint(tmp_path / "best.ckpt")


def test_bytes_among_the_arrays(tmp_path):
    rows = {"embeddings": np.eye(3), "labels": np.arange(3), "ids": np.arange(3)}
    np.savez(tmp_path / "e.npz", **rows)
    content = bytearray((tmp_path / "e.npz").read_bytes())
    content[len(content) // 2] ^= 4
    (tmp_path / "e.npz").write_bytes(content)
    with pytest.raises(UserError) as told:
        EmbeddingSet.load(tmp_path / "e.npz")
    assert one_line(told)


def test_names_cannot_act_on_a_terminal_or_a_page(capsys, monkeypatch):
    shown = printable(ODD)
    assert shown.isprintable()
    assert shown == r"a\x1b[2Jb\rc\u202ed\u2066e\x9bf\udcffg"
    assert printable("ünï 漢字 \u200d👩‍💻 a\tb\nc", lines=True) == "ünï 漢字 \u200d👩‍💻 a\tb\nc"
    page = html.page(ODD, ODD, {ODD: [html.paragraph(ODD), html.note(ODD), html.table([ODD], [[ODD, ODD]])]})
    page += html.folded(ODD, ODD) + html.picture(b"", ODD) + html.thumbnail(b"", ODD)
    assert not {c for c in page if not c.isprintable()} - {"\n"}
    assert cli.main(["audit", "--data.root", ODD]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.strip().isprintable()


def _thread(error):
    def fail():
        raise error

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def test_a_full_disk_is_told_once_whoever_was_writing(tmp_path, capsys):
    full = OSError(28, "No space left on device", "/tmp/hidden.tmp")

    def write():
        _thread(full)
        try:
            raise full
        except OSError:
            raise RuntimeError("unexpected pos 64 vs 0")  # noqa: B904 - as torch has it

    with pytest.raises(UserError) as told, disk_errors(tmp_path / "first"):
        write()
    assert one_line(told) == (
        f"cannot write run {tmp_path / 'first'} (No space left on device): free some space or choose another --runs_dir"
    )
    assert capsys.readouterr().err == ""
    with pytest.raises(RuntimeError, match="another"), disk_errors(tmp_path):
        raise RuntimeError("another")


def test_fit_on_a_full_disk(tmp_path, capsys, monkeypatch):
    """A checkpoint's file takes 40 kB and no more."""
    save = torch.save

    class Full:
        def __init__(self, file):
            self.file = file
            self.flush = file.flush

        def write(self, content):
            if self.file.tell() + len(content) > 40_000:
                raise OSError(28, "No space left on device")
            return self.file.write(content)

    monkeypatch.setattr(torch, "save", lambda state, file, **keys: save(state, Full(file), **keys))
    words = ["--runs_dir", str(tmp_path / "runs"), "--name", "first", "--trainer.max_epochs", "1"]
    words += [
        "--trainer.limit_train_batches",
        "2",
        "--trainer.accelerator",
        "cpu",
        "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
    ]
    assert cli.main(["fit", *words]) == 2
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dml: ")]
    assert err == [
        f"dml: cannot write run {tmp_path / 'runs' / 'first'} (No space left on device): free some space or choose "
        "another --runs_dir"
    ]
    assert not (tmp_path / "runs").exists()


def test_a_folder_of_bytes_that_are_not_utf8(tmp_path, capsys):
    root = tmp_path / "caf\udce9"
    try:
        (root / "a").mkdir(parents=True)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    words = ["--runs_dir", str(tmp_path / "runs"), "--name", "first", "--trainer.accelerator", "cpu"]
    assert cli.main(["fit", "--data.root", str(root), *words]) == 2
    assert r"caf\uDCE9" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
