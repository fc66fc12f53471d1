"""Runs `dml` as a job, in this process or in its own process on a device; interrupted training is resumed.

The words of a job are those after `dml` on a command line. Its output goes to a log, whose last line says why a job
failed.
"""

import gc
import os
import queue
import shutil
import signal
import subprocess
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import final

from dml.errors import UserError
from dml.runs import CHECKPOINTS

FrontDoor = Callable[[list[str]], int]  # the words after `dml` -> exit code
Start = Callable[[list[str], Path], int]  # these words and the log file -> exit code
INTERRUPTED = 130  # the exit code after Ctrl-C


class JobError(UserError):
    """A job that failed; the message is its own last line, `code` its exit code, negative for a signal's."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.code = code


def run_job(words: Sequence[str], log: Path, start: Start) -> None:
    """Run one job to its end.

    Args:
        words: What follows `dml` on a command line.
        log: The file its output is appended to; the folder is made where it is missing.
        start: Runs it and returns its exit code: `run_here(...)` or `RunApart(...)`.

    Raises:
        JobError: It failed; the message says why, in one line.
        KeyboardInterrupt: Ctrl-C ended it.

    Example:
        >>> import tempfile
        >>> def door(words):
        ...     print(f"dml: no verb {words[0]!r}")
        ...     return 2
        >>> run_job(["frobnicate"], Path(tempfile.mkdtemp()) / "log.txt", run_here(door))
        Traceback (most recent call last):
        ...
        dml.experiments.jobs.JobError: no verb 'frobnicate'
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    earlier = log.stat().st_size if log.exists() else 0  # what an earlier attempt left in the log
    code = start(list(words), log)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise JobError(_reason(log, earlier, code), code)


def run_fit(run: Path, recipe: Sequence[str], log: Path, start: Start) -> None:
    """Train a run by `dml fit`, from its last checkpoint where it has one.

    A run folder without a checkpoint was killed before its first one: it is removed, and training starts over.

    Args:
        run: The run's folder.
        recipe: `--config FILE` and `--KEY VALUE`; a run that goes on takes its own config.yaml instead.
        log: As in `run_job`.
        start: As in `run_job`.

    Raises:
        JobError: The training failed.
        KeyboardInterrupt: Ctrl-C ended it.
    """
    where = ["--runs_dir", str(run.parent), "--name", run.name]
    if (run / CHECKPOINTS / "last.ckpt").exists():
        words = [*where, "--ckpt_path", "last"]
    else:
        shutil.rmtree(run, ignore_errors=True)
        words = [*recipe, *where]
    run_job(["fit", *words], log, start)


def run_here(front_door: FrontDoor) -> Start:
    """Return a start that runs in this process, which imports torch once for all jobs.

    Args:
        front_door: `dml.cli.main`.
    """

    def start(words: list[str], log: Path) -> int:
        with log.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
            try:
                return front_door(words)
            except SystemExit as stop:
                return stop.code if isinstance(stop.code, int) else 1
            except Exception:  # a job may fail in any way; whoever runs several goes on
                traceback.print_exc()
                return 1
            finally:
                gc.collect()  # a Lightning trainer and its module hold each other

    return start


def with_variables(start: Start, variables: Mapping[str, str]) -> Start:
    """Return a start whose jobs see some more variables in their environment.

    Args:
        start: `run_here(...)` or `RunApart(...)`.
        variables: Their names and values.

    Example:
        >>> import tempfile
        >>> log = Path(tempfile.mkdtemp()) / "log.txt"
        >>> with_variables(run_here(lambda words: int(os.environ["CODE"])), {"CODE": "7"})([], log)
        7
    """
    if isinstance(start, RunApart):
        return partial(start, variables=variables)

    def started(words: list[str], log: Path) -> int:
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            return start(words, log)
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value

    return started


@final
class RunApart:
    """A start that runs in its own process, on the next free device.

    Args:
        command: What stands for `dml`, e.g. `[sys.executable, "-m", "dml"]`.
        devices: Environment of each slot, e.g. `{"CUDA_VISIBLE_DEVICES": "0"}`.
    """

    def __init__(self, command: Sequence[str], devices: Sequence[dict[str, str]]) -> None:
        self._command = list(command)
        self._free: queue.Queue[dict[str, str]] = queue.Queue()
        for device in devices:
            self._free.put(device)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._starting = threading.Lock()  # an interrupt must not miss a process that has just begun

    def __call__(self, words: list[str], log: Path, variables: Mapping[str, str] = MappingProxyType({})) -> int:
        """Run with these variables added to the environment; return the exit code, negative for a killed process."""
        device = self._free.get()
        try:
            with self._starting, log.open("ab") as file:
                if self._stopped:
                    return INTERRUPTED
                # a session of its own: Ctrl-C in the terminal reaches it once, through `interrupt`
                process = subprocess.Popen(
                    [*self._command, *words],
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **device, **variables},
                    start_new_session=True,
                )
                self._running.add(process)
            code = process.wait()
            self._running.discard(process)
            return INTERRUPTED if code == -signal.SIGINT else code
        finally:
            self._free.put(device)

    def interrupt(self) -> None:
        """Pass Ctrl-C on to everything that runs; nothing more is started."""
        with self._starting:
            self._stopped = True
            for process in list(self._running):
                process.send_signal(signal.SIGINT)


def _reason(log: Path, earlier: int, code: int) -> str:
    """Return in one line why a job failed: the front door's own line, or the last of a traceback."""
    if code < 0:
        return f"killed by signal {-code} ({signal.Signals(-code).name}): out of memory?"
    text = log.read_bytes()[earlier:].decode(errors="replace") if log.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line.removeprefix("dml: ") for line in lines if line.startswith("dml: ")]
    return (told or lines or [f"exit code {code}"])[-1]
