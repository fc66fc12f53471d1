"""The end of the process: as quick as can be, and nothing lost."""

import os
import signal
import subprocess
import sys
import time

import pytest

from dml.cli import main
from dml.cli.leaving import leave

_BUSY = """
import atexit, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import torch
from dml.cli.leaving import leave
class Kept:
    def __del__(self):
        print("taken apart")
kept = Kept()
atexit.register(print, "registered")
threading.Thread(target=lambda: (time.sleep(0.5), print("thread"))).start()
pool = ThreadPoolExecutor(1)
pool.submit(lambda: (time.sleep(0.2), print("pool")))
print("told", end=" ")
print("the reason", file=sys.stderr)
leave(CODE)
"""


@pytest.mark.parametrize("code", [0, 2, 130])
def test_threads_end_handlers_run_and_output_is_written(code):
    done = subprocess.run(
        [sys.executable, "-c", _BUSY.replace("CODE", str(code))], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (code, "the reason\n")
    assert done.stdout.split() == ["told", "pool", "thread", "registered"]  # and nothing was taken apart


def test_output_that_nobody_reads_is_an_error_as_ever():
    script = "import torch, sys; from dml.cli.leaving import leave; sys.stdin.read(); print('x'); leave(0)"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=buffered) as process:
        process.stdout.close()
        process.stdin.close()
        assert process.wait(120) == 120


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_enough_gets_no_complaint(unbuffered):
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-m", "dml", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(120) == 120


def test_another_pipe_that_breaks_is_told(monkeypatch, capfd):
    def breaks(words):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("dml.cli._run", breaks)
    assert main(["fit"]) == 2
    assert capfd.readouterr().err.startswith("dml: a process that was to be told something has ended")


def test_sigterm_before_training_leaves_nothing(tmp_path):
    command = [sys.executable, "-m", "dml", "fit", "--name", "first"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        while not (tmp_path / "runs" / "first" / ".lock").exists():
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        assert process.stderr.read() == b"dml: interrupted\n"
        assert process.wait(120) == 130
    assert not (tmp_path / "runs").exists()


def test_without_torch_the_process_ends_as_others_do(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(SystemExit) as left:
        leave(3)
    assert left.value.code == 3
