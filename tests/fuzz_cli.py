"""Throws command lines at the front door and counts how each ends: `python tests/fuzz_cli.py --cases 1000`.

Hypothesis draws verbs, keys of the real parsers and edge values; a list of mistakes that were once accepted, or ended
in a traceback, comes first. Each case runs in a child of this process, which has imported torch and lightning already,
in a folder of its own with a few images of 8×8 pixels and a trained run, under a limit of time and of memory.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from fuzz_cases import FILES, FIT, Case, command_lines, named_cases, recipe_keys, verb_options
from hypothesis import HealthCheck, Phase, given, seed, settings
from PIL import Image

GIB = 2**30
SECONDS, MEMORY = (
    25,
    3 * GIB,
)  # of one case; of a processor, ten times as many on the clock; beyond what the imports took
LONGEST_LINE = 400
WELL_ENDED = {0, 1, 2, 3, 4, 130}  # 1: trials of a sweep failed; 3: audit found leaks; 4: missing extra
GOOD = ("ok", "told")


class Ending(NamedTuple):
    """How a case ended: `ok`, `told` (one line, exit code 2), or what is wrong with its end."""

    case: Case
    kind: str
    code: int
    told: str
    seconds: float


class Range:
    """The folder that every case gets a copy of, and the running of cases in children of this process."""

    def __init__(self, folder: Path, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self.folder, self.seconds, self.memory = folder, seconds, memory
        _prepare(folder / "model")
        ending = self.run(Case((*FIT, "--name=first"), "done"), keep=folder / "model")
        if ending.kind != "ok":
            raise RuntimeError(f"the run that cases read was not trained: {ending.told}")
        runs = folder / "model" / "runs"
        for name, edit in (("nodata", _without_data), ("evil", _with_system)):
            shutil.copytree(runs / "first", runs / name)
            (runs / name / "config.yaml").write_text(edit((runs / "first" / "config.yaml").read_text()))
            for record in ("scores.json", "queries_val.npz", "neighbors_val.npz"):
                (runs / name / record).unlink(missing_ok=True)

    def run(self, case: Case, keep: Path | None = None) -> Ending:
        """Run one case and say how it ended."""
        place = keep or self.folder / "case"
        if keep is None:
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(self.folder / "model", place, copy_function=os.link)
        before = {path.name for path in (place / "runs").glob("*")}
        out, err = self.folder / "out.txt", self.folder / "err.txt"
        start = time.monotonic()
        child = os.fork()
        if not child:
            _become(case, place, out, err, self.seconds, self.memory)
        code = _wait(child, self.seconds)
        told = err.read_text(errors="replace")
        left = sorted(
            {path.name for path in (place / "runs").glob("*")} - before if not keep and case.words[0] == "fit" else ()
        )
        kind = _kind(case, code, told, left, (place / "pwned").exists())
        return Ending(case, kind, code, told[-1500:], time.monotonic() - start)


def _prepare(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for shift, name in enumerate("abc"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 120, (8, 8, 3)) + 60 * shift
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "photos" / name / f"{number}.png")
    for name, text in FILES.items():
        (folder / name).write_text(text)


def _without_data(recipe: str) -> str:
    return yaml.safe_dump({key: value for key, value in yaml.safe_load(recipe).items() if key != "data"})


def _with_system(recipe: str) -> str:
    block = yaml.safe_load(recipe)
    block["model"]["init_args"]["optimizer"] = {"class_path": "os.system", "init_args": {"command": "touch pwned"}}
    block["trainer"]["callbacks"] = [{"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "pwned"]}}]
    return yaml.safe_dump(block)


def _become(case: Case, place: Path, out: Path, err: Path, seconds: float, memory: int) -> None:
    """Run the case as this process and end."""
    code = 70
    try:
        os.setsid()
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.chdir(place)
        os.environ.update(DML_CACHE=str(place / "cache"), OMP_NUM_THREADS="1", COLUMNS="80")
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + memory, size + memory))
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
        sys.argv = ["dml", *case.words]
        from dml.cli import main

        code = main(list(case.words))
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1 if stop.code else 0
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 70
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if 0 <= code < 256 else 71)


def _wait(child: int, seconds: float) -> int:
    end = time.monotonic() + 10 * seconds  # the machine may be at work on other things
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return -9999 if code == -signal.SIGXCPU else code
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -9999


def _kind(case: Case, code: int, told: str, left: list[str], pwned: bool) -> str:
    lines = [line for line in told.splitlines() if line.startswith("dml: ")]
    if pwned:
        return "code was executed"
    if code == -9999:
        return "hang"
    if (
        "Traceback (most recent call last)" in told
        or code not in WELL_ENDED
        or (code == 1 and "sweep" not in case.words)
    ):
        return "traceback"
    if "Namespace(" in told or any(len(line) > LONGEST_LINE for line in lines):
        return "dump"
    if code == 2:
        if len(lines) != 1 or any(ord(letter) < 32 for letter in lines[0]):
            return "not one line"
        if left:
            return "left half a run"
        return "refused in vain" if case.expected == "done" else "told"
    if case.expected == "refused" and code == 0:
        return "silent nonsense"
    return "ok"


def endings(place: Path, cases: int, named: bool, first: int = 0, tell=lambda ending: None) -> list[Ending]:
    """Run the named cases and as many drawn ones, and return how each ended."""
    import lightning.pytorch.cli  # noqa: F401  children then start at once
    import torch

    import dml.callbacks
    import dml.cli.trainer
    import dml.evaluation  # noqa: F401

    torch.set_num_threads(1)
    field = Range(place)
    found: list[Ending] = []

    def run(case: Case) -> None:
        found.append(field.run(case))
        tell(found[-1])

    for case in named_cases() if named else []:
        run(case)

    @seed(first)
    @settings(
        max_examples=max(1, cases),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(command_lines(recipe_keys(), verb_options()))
    def draw(case: Case) -> None:
        run(case)

    if cases:
        draw()
    return found


def main() -> int:
    """Run, print the counts and what went wrong; return 1 where anything did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--output", type=Path, metavar="FILE", help="every ending, as JSON lines")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        output = options.output.open("w") if options.output else None

        def tell(ending: Ending) -> None:
            if output:
                print(json.dumps([ending.case.words, *ending[1:]]), file=output, flush=True)

        found = endings(Path(folder), options.cases, True, options.seed, tell)
    for ending in found:
        if ending.kind not in GOOD:
            shown = [word for word in ending.case.words if word not in FIT[1:]]
            last = next((line for line in reversed(ending.told.splitlines()) if line.strip()), "")
            print(f"{ending.kind:<16} {shown!r:.160} -> {ending.code}: {last!r:.200}")
    counts = Counter(ending.kind for ending in found)
    print(f"{len(found)} command lines: " + ", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    return int(any(kind not in GOOD for kind in counts))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    raise SystemExit(main())
