"""How well `dml plan` foretells: twelve recipes on small data are planned, then trained, and both are compared.

Data are the digits, and synthetic images in the layouts of the originals; a recipe's epochs are cut so that a training
takes some seconds. Compared are the seconds of the whole `dml fit`, from its start to its end, the seconds of training
that its protocol tells, and the largest memory of its process. All on an idle machine, one after the other.
Usage: python benchmarks/plan.py [--recipes NAME ...] [--folder DIR] [--write FILE]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from synthetic import write_cub, write_folder, write_mnist, write_omniglot

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
MNIST = ("--data.source.root=mnist", "--data.source.download=false")
RECIPES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # files, and what is cut
    "default": ((), ("--trainer.max_epochs=6",)),
    "digits/softmax": (("digits/softmax",), ("--trainer.max_epochs=200",)),
    "flowers/triplet_conv": (("flowers/triplet_conv",), ("--data.root=flowers", "--trainer.max_epochs=20")),
    "flowers/triplet_mlp": (("flowers/triplet_mlp",), ("--data.root=flowers", "--trainer.max_epochs=25")),
    "flowers/contrastive_linear": (
        ("flowers/contrastive_linear",),
        ("--data.root=flowers", "--trainer.max_epochs=25"),
    ),
    "photos/from_scratch, decoded batch by batch": (
        ("photos/from_scratch",),
        ("--data.root=flowers", "--data.memory_limit=0.005", "--data.eval_batch_size=100", "--trainer.max_epochs=10"),
    ),
    "data/cub200": (
        ("photos/from_scratch", "data/cub200"),
        ("--data.source.root=cub", "--data.image_size=112", "--trainer.max_epochs=10"),
    ),
    "cifar10/softmax": (
        ("cifar10/softmax",),
        ("--data.root=cifar", "--trainer.max_epochs=60", "--trainer.max_steps=700"),
    ),
    "cifar10/triplet_alexnet": (
        ("cifar10/triplet_alexnet",),
        ("--data.root=few", "--data.batch_size=128", "--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=3"),
    ),
    "mnist/autoencoder_small": (("mnist/autoencoder_small",), (*MNIST, "--trainer.max_epochs=5")),
    "records/mnist_knn": (("records/mnist_knn",), (*MNIST, "--trainer.max_epochs=2")),
    "records/omniglot_oneshot": (
        ("records/omniglot_oneshot",),
        ("--data.source.root=omniglot.zip", "--trainer.max_epochs=2"),
    ),
}


class Run(NamedTuple):
    """A process: what it printed, its seconds, and its largest memory in bytes."""

    output: str
    seconds: float
    peak: int


def write_data(folder: Path) -> None:
    """Write all data, once."""
    if (folder / "omniglot.zip").exists():
        return
    write_folder(folder / "flowers", 720, 12, 80)
    write_folder(folder / "cifar", 4500, 10, 32)
    write_folder(folder / "few", 1500, 10, 32)
    write_mnist(folder / "mnist", 12_000, 500)
    write_cub(folder / "cub", 20, 20, 160)
    write_omniglot(folder / "omniglot.zip", 3, 20)


def run(folder: Path, *words: str) -> Run:
    """Run `dml` and take its time and memory.

    Raises:
        SystemExit: It fails.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DML_CACHE": str(folder / "cache")}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as told:
        began = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-m", "dml", *words], cwd=folder, env=environment, stdout=out, stderr=told
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        told.seek(0)
        if child.returncode:
            raise SystemExit(f"dml {' '.join(words)} ended with {child.returncode}:\n{told.read()[-3000:]}")
        return Run(out.read(), seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def compare(folder: Path, name: str) -> dict[str, Any]:
    """Plan and train a recipe."""
    files, cut = RECIPES[name]
    words = [word for file in files for word in ("--config", str(CONFIGS / f"{file}.yaml"))] + list(cut)
    planning = run(folder, "plan", *words, "--json")
    planned = json.loads(planning.output)
    run_name = f"{name.replace('/', '-').split(',')[0]}-{time.time():.0f}"
    trained = run(folder, "fit", *words, "--name", run_name)
    cost = json.loads((folder / "runs" / run_name / "protocol.json").read_text())["cost"]
    return {
        "recipe": name,
        "planning": planning.seconds,
        "seconds": (planned["seconds"], trained.seconds),
        "training": (planned["training_seconds"], cost["training_seconds"]),
        "memory": (planned["memory_bytes"]["measured"] / 2**20, trained.peak / 2**20),
        "expected": (planned["memory_bytes"]["estimated"] / 2**20, trained.peak / 2**20),
        "step": (planned["step_seconds"]["estimated"], planned["step_seconds"]["measured"]),
        "planned": planned,
    }


def row(found: dict[str, Any]) -> str:
    """Return a row of the table."""
    cells = [found["recipe"], f"{found['planning']:.1f}"]
    for key, form in (("seconds", ".1f"), ("training", ".1f"), ("memory", ".0f")):
        told, measured = found[key]
        cells += [f"{told:{form}}", f"{measured:{form}}", f"{told / measured:.2f}"]
    cells += [f"{told / measured:.2f}" for told, measured in (found["expected"], found["step"])]
    return f"| {' | '.join(cells)} |"


HEAD = """| recipe | planning, s | all, s: planned | measured | ratio | training, s: planned | measured | ratio \
| memory, MiB: planned | measured | ratio | memory estimated : measured | step estimated : measured |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""


def summary(found: Sequence[dict[str, Any]]) -> str:
    """Say how many recipes lie within a fifth of what was measured."""
    told = []
    for key, what in (("seconds", "all seconds"), ("training", "seconds of training"), ("memory", "memory")):
        ratios = [planned / measured for planned, measured in (each[key] for each in found)]
        within = sum(0.8 <= ratio <= 1.2 for ratio in ratios)
        told.append(f"{what} {within} of {len(ratios)} (median ratio {statistics.median(ratios):.2f})")
    return f"Within ±20 % of what was measured: {', '.join(told)}."


def main() -> None:
    """Plan, train, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="*", choices=RECIPES, default=list(RECIPES), help="some of them (all)")
    parser.add_argument("--folder", type=Path, help="for data and runs, which then stay (a temporary one)")
    parser.add_argument("--write", type=Path, help="where the table goes, e.g. benchmarks/results/plan.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        write_data(folder)
        began, found, busy = time.perf_counter(), [], os.getloadavg()[0]
        print(HEAD)
        for name in options.recipes:
            found.append(compare(folder, name))
            print(row(found[-1]), flush=True)
        minutes = (time.perf_counter() - began) / 60
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning"))
    about = f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPU cores, Python {platform.python_version()}, {versions}"
    about += f"; {minutes:.1f} minutes, load average {busy:.1f} before."
    print(f"\n{about} {summary(found)}")
    if options.write:
        title = "# Planned and measured\n\n`python benchmarks/plan.py --write benchmarks/results/plan.md`. "
        lines = [f"{title}{about}", "", summary(found), "", HEAD, *map(row, found), ""]
        options.write.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
