"""Spoils files of every kind that `dml` reads, reads them by the real entry points, and counts what comes of it.

    python tests/fuzz_files.py --cases 1000 [--seed 0] [--only png,zip] [--show traceback,nonsense,hang]

Every case runs in a forked child, torch and Lightning imported beforehand, under a limit of time and memory. It ends
`ok` (read, and nothing to object to), `line` (a `UserError` of one line), `traceback` (any other exception, also of a
thread, or a crash), `hang` (the time was over) or `nonsense`: read without a word although pixels are not finite,
counts or labels do not fit, a format with checksums gives other pixels than it held, or an array on a scale nobody
reads is taken. Exit code 1 unless all are `ok` or `line`.
"""

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import lightning  # noqa: F401 - before the children are forked
import torch
from fuzz_formats import FORMATS
from fuzz_values import Nonsense

from dml.cli import trainer  # noqa: F401 - likewise
from dml.errors import UserError

KINDS = ("ok", "line", "traceback", "hang", "nonsense")
MEMORY = 3 << 30  # bytes beyond what the parent holds
SECONDS = 10  # of one case, of a processor; ten times as many on the clock


def run_cases(cases: int, seed: int, only: list[str], show: list[str]) -> dict[str, Counter[str]]:
    """Run so many cases, dealt in turn over the formats, and count how they end, by format."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in only}
    with tempfile.TemporaryDirectory(prefix="fuzz-files-") as place:
        originals = {name: Path(place) / "originals" / name for name in only}
        for name, folder in originals.items():
            folder.mkdir(parents=True)
            end, told = in_child(lambda name=name, folder=folder: FORMATS[name].make(folder), folder, 60)
            if end != "ok":
                raise RuntimeError(f"{name} cannot be made: {told}")
        for case in range(cases):
            name = only[case % len(only)]
            rng = random.Random(f"{seed} {case // len(only)} {name}")
            folder = Path(place) / "case"
            shutil.copytree(originals[name], folder, symlinks=True)
            what = FORMATS[name].spoil(folder, rng)
            began = time.perf_counter()
            end, told = in_child(lambda name=name, folder=folder, rng=rng: FORMATS[name].read(folder, rng), folder)
            counts[name][end] += 1
            if end in show:
                spent = time.perf_counter() - began
                print(f"{name} {case // len(only)} {end} ({what}; {spent:.1f} s): {told}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
    return counts


def in_child(work: Callable[[], object], folder: Path, seconds: float = SECONDS) -> tuple[str, str]:
    """Do something in a forked child; return how it ended and what it told."""
    source, sink = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of threads; the children use none of the parent's
        child = os.fork()
    if child == 0:
        os.close(source)
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
            end = judge(work, folder)
        except BaseException:
            end = ("traceback", traceback.format_exc())
        with contextlib.suppress(BaseException):
            os.write(sink, json.dumps(end).encode()[:60000])
        os._exit(0)
    os.close(sink)
    deadline = time.monotonic() + 10 * seconds  # the machine may be at work on other things
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(source)
            return "hang", f"{seconds} s were over"
        time.sleep(0.002)
    with os.fdopen(source, "rb") as pipe:
        told = pipe.read()
    if os.waitstatus_to_exitcode(ended[1]) == -signal.SIGXCPU:
        return "hang", f"{seconds} s of a processor were over"
    return tuple(json.loads(told)) if told else ("traceback", "the process died")


def judge(work: Callable[[], object], folder: Path) -> tuple[str, str]:
    """Do the work, silent and limited, and say how it ended."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    torch.set_num_threads(1)
    os.environ["DML_CACHE"] = str(folder / "cache")
    told = os.open(folder.parent / "told.txt", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.dup2(told, 1)
    os.dup2(told, 2)
    sys.stdout = sys.stderr = io.TextIOWrapper(io.FileIO(told, "w"), write_through=True)  # as a terminal has it
    warnings.simplefilter("ignore")
    try:
        work()
        end = ("ok", "")
    except UserError as error:
        end = ("line", str(error)) if len(str(error).splitlines()) == 1 else ("traceback", f"lines: {error}")
    except Nonsense as error:
        end = ("nonsense", str(error))
    except SystemExit as stop:
        end = ("line", "") if stop.code == 2 else ("traceback", f"SystemExit({stop.code})")
    except BaseException:
        end = ("traceback", traceback.format_exc())
    said = (folder.parent / "told.txt").read_bytes()
    if b"Traceback (most recent call last)" in said:
        end = ("traceback", said.decode(errors="replace"))
    elif bad := set(said.decode(errors="replace")) & RAW:
        end = ("nonsense", f"raw control characters {sorted(bad)} on the terminal: {said[:300]!r}")
    elif end[0] == "line" and b"dml: " in said and len(said.split(b"dml: ", 1)[1].splitlines()) != 1:
        end = ("traceback", "more than one line: " + said.decode(errors="replace")[:2000])
    return end if end[1] else (end[0], said.decode(errors="replace")[-300:])


RAW = {chr(code) for code in (*range(9), *range(11, 13), *range(14, 32), 127, 0x202E, 0x2066)}


def table(counts: dict[str, Counter[str]]) -> str:
    """Return the counts, one row per format."""
    rows = [("", *KINDS), *((name, *(str(row[kind]) for kind in KINDS)) for name, row in counts.items())]
    total = sum(counts.values(), Counter())
    rows.append(("all", *(str(total[kind]) for kind in KINDS)))
    return "\n".join(f"{row[0]:<12}" + "".join(f"{cell:>11}" for cell in row[1:]) for row in rows)


def main() -> int:
    """Run the cases that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(FORMATS), help="names of formats, with commas")
    parser.add_argument("--show", default="traceback,hang,nonsense", help="ends to print in full")
    options = parser.parse_args()
    counts = run_cases(options.cases, options.seed, options.only.split(","), options.show.split(","))
    print(table(counts))
    return int(any(row[kind] for row in counts.values() for kind in KINDS[2:]))


if __name__ == "__main__":
    sys.exit(main())
