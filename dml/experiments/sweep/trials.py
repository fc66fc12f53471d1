"""Runs one trial of a sweep as `dml fit`, here or in a process of its own; it does not know which trials there are."""

import gc
import os
import queue
import shutil
import signal
import subprocess
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, final

from dml import runs
from dml.runs import CHECKPOINTS

FrontDoor = Callable[[list[str]], int]
INTERRUPTED = 130  # the exit code
LOGS = "logs"


@final
@dataclass(frozen=True)
class Trial:
    """One configuration under one seed; `name` is its folder in the sweep's."""

    values: dict[str, str]
    seed: int
    name: str


@final
@dataclass(frozen=True)
class Outcome:
    """What became of a trial: its scores by `section/score`, or in one line why it failed."""

    values: dict[str, str]
    seed: int
    run: str
    status: Literal["done", "failed"]
    seconds: float
    reason: str = ""
    scores: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


Start = Callable[[list[str], Path], int]  # the words after `dml`, the log file -> exit code


def run_trials(
    folder: Path, recipe: Sequence[str], trials: Iterable[Trial], start: Start, slots: int
) -> Iterator[Outcome]:
    """Yield the outcome of every trial as it ends, `slots` of them at a time.

    Args:
        folder: The sweep's folder, which holds the trials' runs.
        recipe: `--config FILE` and `--KEY VALUE` that all trials share.
        trials: What is to be run.
        start: Runs `dml` with these words and gives its exit code.
        slots: How many run at once; 1 runs them one after another in this thread.

    Raises:
        KeyboardInterrupt: Ctrl-C ended a trial; one that had begun goes on from its checkpoint another time.
    """
    if slots == 1:
        yield from (_run(folder, recipe, trial, start) for trial in trials)
        return
    with ThreadPoolExecutor(slots) as pool:
        futures = [pool.submit(_run, folder, recipe, trial, start) for trial in trials]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:  # Ctrl-C, or whoever reads the outcomes has had enough
            for future in futures:
                future.cancel()
            if isinstance(start, RunApart):
                start.interrupt()
            raise


def _run(folder: Path, recipe: Sequence[str], trial: Trial, start: Start) -> Outcome:
    run = folder / trial.name
    log = folder / LOGS / f"{trial.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    where = ["--runs_dir", str(folder), "--name", trial.name]
    if (run / CHECKPOINTS / "last.ckpt").exists():
        words = ["fit", *where, "--ckpt_path", "last"]  # it was interrupted: its own config.yaml is its recipe
    else:
        shutil.rmtree(run, ignore_errors=True)  # killed before its first checkpoint: nothing of it can go on
        words = ["fit", *recipe, *(f"--{key}={value}" for key, value in trial.values.items())]
        words += [f"--seed_everything={trial.seed}", *where]
    begun = perf_counter()
    code = start(words, log)
    seconds = round(perf_counter() - begun, 2)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        return Outcome(trial.values, trial.seed, trial.name, "failed", seconds, _reason(log, code))
    scores = _flat(runs.read_json(run / runs.SCORES))
    return Outcome(trial.values, trial.seed, trial.name, "done", seconds, scores=scores)


def run_here(front_door: FrontDoor) -> Start:
    """Return a start that runs in this process, which pays for importing torch once; its output goes to the log."""

    def start(words: list[str], log: Path) -> int:
        with log.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
            try:
                return front_door(words)
            except SystemExit as stop:
                return stop.code if isinstance(stop.code, int) else 1
            except Exception:  # a trial may fail in any way; the sweep goes on
                traceback.print_exc()
                return 1
            finally:
                gc.collect()  # a Lightning trainer and its module hold each other

    return start


@final
class RunApart:
    """A start that runs in a process of its own, on the next free device.

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

    def __call__(self, words: list[str], log: Path) -> int:
        """Run, and give the exit code; a process that was killed gives a negative one."""
        device = self._free.get()
        try:
            if self._stopped:
                return INTERRUPTED
            with log.open("ab") as file:
                # a session of its own: Ctrl-C in the terminal reaches it once, through `interrupt`
                process = subprocess.Popen(
                    [*self._command, *words],
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=os.environ | device,
                    start_new_session=True,
                )
            self._running.add(process)
            code = process.wait()
            self._running.discard(process)
            return INTERRUPTED if code == -signal.SIGINT else code
        finally:
            self._free.put(device)

    def interrupt(self) -> None:
        """Pass Ctrl-C on to all that run; nothing more is started."""
        self._stopped = True
        for process in list(self._running):
            process.send_signal(signal.SIGINT)


def _reason(log: Path, code: int) -> str:
    """Return in one line why a trial failed: the front door's own line, or the last of a traceback."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    if code < 0:
        return f"killed by signal {-code} ({signal.Signals(-code).name}): out of memory?"
    told = [line.removeprefix("dml: ") for line in lines if line.startswith("dml: ")]
    return (told or lines or [f"exit code {code}"])[-1].strip()


def _flat(scores: dict[str, Any]) -> dict[str, float]:
    sections = {name: scores[name] for name in ("val", "train") if name in scores}
    return {f"{section}/{name}": value for section, values in sections.items() for name, value in values.items()}
