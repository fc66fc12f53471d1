"""The run folder: names, finding, atomic writing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dml import runs
from dml.errors import UserError


@pytest.mark.parametrize("name", ["a/b", "..", "", "/tmp"])
def test_a_run_name_is_one_plain_folder_name(tmp_path, name):
    with pytest.raises(UserError, match="plain folder name"):
        runs.new_run(tmp_path, name)


def test_an_existing_run_is_not_overwritten(tmp_path):
    (tmp_path / "first").mkdir()
    with pytest.raises(UserError, match="'first' exists"):
        runs.new_run(tmp_path, "first")


def test_a_new_run_creates_nothing(tmp_path):
    assert not runs.new_run(tmp_path / "runs").exists()
    assert list(tmp_path.iterdir()) == []


def _make_run(folder, age=0):
    folder.mkdir(parents=True)
    config = folder / runs.CONFIG
    config.write_text("seed_everything: 0")
    stamp = config.stat().st_mtime - age
    os.utime(config, (stamp, stamp))
    return folder


def test_a_run_is_found_by_path_name_and_age(tmp_path):
    old, new = _make_run(tmp_path / "old", age=100), _make_run(tmp_path / "new")
    assert runs.find_run(old, "elsewhere") == old
    assert runs.find_run("old", tmp_path) == old
    assert runs.find_run("latest", tmp_path) == new


def test_a_folder_without_a_recipe_is_no_run(tmp_path):
    (tmp_path / "first").mkdir()
    with pytest.raises(UserError, match=r"holds no config\.yaml"):
        runs.find_run("first", tmp_path)
    with pytest.raises(UserError, match="no runs in"):
        runs.find_run("latest", tmp_path)


def test_equal_scores_give_equal_bytes_whatever_their_order(tmp_path):
    runs.write_json(tmp_path / "a.json", {"x": 1.0, "y": 2.0})
    runs.write_json(tmp_path / "b.json", {"y": 2.0, "x": 1.0})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "scores.json"
    runs.write_json(path, {"map_at_r": 0.5})

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UserError, match="No space left"):
        runs.write_json(path, {"map_at_r": 0.6})
    assert json.loads(path.read_text()) == {"map_at_r": 0.5}
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]


def test_scores_of_another_split_are_kept(tmp_path):
    path = tmp_path / runs.SCORES
    runs.write_scores(path, {"val": {"map_at_r": 0.5}, "baselines": {}}, {"val": {"map_at_r": (0.4, 0.6)}})
    runs.write_scores(path, {"test": {"map_at_r": 0.3}}, {"test": {"map_at_r": (0.2, 0.4)}})
    assert runs.read_json(path)["intervals"] == {"val": {"map_at_r": [0.4, 0.6]}, "test": {"map_at_r": [0.2, 0.4]}}
    runs.write_scores(path, {"val": {"map_at_r": 0.6}, "test": {}})
    assert runs.read_json(path) == {"val": {"map_at_r": 0.6}, "baselines": {}, "test": {}}


def test_a_broken_json_file_is_named(tmp_path):
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(UserError, match=r"scores\.json is not valid JSON"):
        runs.read_json(tmp_path / "scores.json")


_SECOND = """
import sys
from pathlib import Path
from dml.runs import held
with held(Path(sys.argv[1])):
    print("held")
"""


def _second(folder):
    return subprocess.run([sys.executable, "-c", _SECOND, str(folder)], capture_output=True, text=True, timeout=200)


def test_one_process_at_a_time_holds_a_folder(tmp_path):
    with runs.held(tmp_path / "new"):
        refused = _second(tmp_path / "new")
        with pytest.raises(UserError, match="another process is at work"), runs.held(tmp_path / "new"):
            pass
    assert "another process is at work" in refused.stderr
    assert _second(tmp_path / "new").stdout == "held\n"


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be locked"), runs.held(tmp_path / "file" / "sweep"):
        pass


_TAKE = """
import sys, time
from dml.errors import UserError
from dml.runs import begun_run
print("ready", flush=True)
sys.stdin.readline()
try:
    with begun_run("runs", sys.argv[1] or None) as run:
        print(run.name, flush=True)
        sys.stdin.readline()
except UserError as error:
    print("refused:", error, flush=True)
"""


@pytest.mark.parametrize("name", ["same", ""])
def test_of_processes_that_start_together_each_has_its_own_run(tmp_path, name):
    """With a name one has it and the others are refused; without one all have a folder."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = os.environ | {"PYTHONPATH": str(Path(runs.__file__).parents[2])}
    command = [sys.executable, "-c", _TAKE, name]
    started = [subprocess.Popen(command, **pipes, cwd=tmp_path, env=environment) for _ in range(4)]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.stdout.readline().strip() for process in started]
    for process in started:
        process.communicate("end\n", timeout=200)
    taken = [line for line in told if not line.startswith("refused")]
    assert len(set(taken)) == len(taken) == (1 if name else 4), told
    assert list((tmp_path / "runs").glob("*")) == []  # none had a checkpoint


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_that_outlives_its_parent_holds_no_run(tmp_path):
    held = (
        "import os, sys, time\n"
        "from dml.runs import held\n"
        "with held(__import__('pathlib').Path(sys.argv[1])):\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(20)\n"
        "        os._exit(0)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    died = subprocess.run(
        [sys.executable, "-c", held, str(tmp_path)], env=environment, timeout=200, stdout=subprocess.DEVNULL
    )
    assert died.returncode == -9
    with runs.held(tmp_path):
        pass
