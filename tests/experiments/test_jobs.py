"""Jobs: how a training begins or goes on, why one failed, and who may work in a folder."""

import gc
import sys

import pytest
from lightning.pytorch import Trainer

from dml import runs
from dml.cli import main
from dml.experiments.jobs import JobError, RunApart, run_fit, run_here, run_job

pytestmark = pytest.mark.usefixtures("collected")


@pytest.fixture
def calls():
    return []


@pytest.fixture
def start(calls):
    return run_here(lambda words: calls.append(words) or 0)


def test_a_new_run_is_trained_by_its_recipe(tmp_path, calls, start):
    run_fit(tmp_path / "runs" / "a", ["--config", "a.yaml"], tmp_path / "log.txt", start)
    assert calls == [["fit", "--config", "a.yaml", "--runs_dir", str(tmp_path / "runs"), "--name", "a"]]


def test_a_run_with_a_checkpoint_goes_on_by_its_own_recipe(tmp_path, calls, start):
    runs.write_bytes(tmp_path / "a" / "checkpoints" / "last.ckpt", b"weights")
    run_fit(tmp_path / "a", ["--config", "a.yaml"], tmp_path / "log.txt", start)
    assert calls == [["fit", "--runs_dir", str(tmp_path), "--name", "a", "--ckpt_path", "last"]]
    assert (tmp_path / "a" / "checkpoints" / "last.ckpt").exists()


def test_a_run_killed_before_its_first_checkpoint_is_cleared(tmp_path, start):
    runs.write_bytes(tmp_path / "a" / "config.yaml", b"half")
    run_fit(tmp_path / "a", [], tmp_path / "log.txt", start)
    assert not (tmp_path / "a").exists()


def _print(text, code):
    return run_here(lambda words: print(text) or code)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("one\ndml: no file x: give another\nhint\n", "no file x: give another"),
        ("Traceback\nRuntimeError: CUDA out of memory\n\n", "RuntimeError: CUDA out of memory"),
        ("", "exit code 3"),
    ],
)
def test_the_last_line_of_the_log_is_the_reason(tmp_path, text, reason):
    with pytest.raises(JobError) as failed:
        run_job(["fit"], tmp_path / "logs" / "a.txt", _print(text, 3))
    assert str(failed.value) == reason


def test_an_earlier_attempt_in_the_same_log_gives_no_reason(tmp_path):
    log = tmp_path / "log.txt"
    for text in ("dml: the first reason", "the second reason"):
        with pytest.raises(JobError, match=text.removeprefix("dml: ")):
            run_job(["fit"], log, _print(text, 1))
    assert log.read_text().splitlines() == ["dml: the first reason", "the second reason"]


def test_an_exception_and_an_exit_are_failures_and_130_is_an_interrupt(tmp_path):
    def crash(words):
        raise RuntimeError("broken")

    def leave(words):
        raise SystemExit("no more")

    with pytest.raises(JobError, match="RuntimeError: broken"):
        run_job([], tmp_path / "log.txt", run_here(crash))
    with pytest.raises(JobError, match="exit code 1"):
        run_job([], tmp_path / "other.txt", run_here(leave))
    with pytest.raises(KeyboardInterrupt):
        run_job([], tmp_path / "log.txt", _print("dml: interrupted", 130))


@pytest.mark.parametrize(
    ("ended", "told"), [("sys.exit('dml: wrong key')", "wrong key"), ("os.kill(os.getpid(), 9)", "SIGKILL")]
)
def test_a_process_of_its_own_says_why_it_failed(tmp_path, ended, told):
    start = RunApart([sys.executable, "-c", f"import os, sys; {ended}"], [{}])
    with pytest.raises(JobError, match=told):
        run_job(["fit"], tmp_path / "log.txt", start)


def test_a_job_leaves_no_trainer_with_its_data_behind(tmp_path):
    before = sum(type(thing) is Trainer for thing in gc.get_objects())
    words = ["fit", "--runs_dir", str(tmp_path), "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]
    assert run_here(main)([*words, "--pictures.projection", "none"], tmp_path / "log.txt") == 0
    assert sum(type(thing) is Trainer for thing in gc.get_objects()) == before
