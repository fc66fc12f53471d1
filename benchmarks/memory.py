"""What `fit` holds in memory as images grow in number, and one million images under a limit of 2 GiB.

`growth` trains one epoch on N files of 224×224 pixels beyond `data.memory_limit` (four batches) and notes the largest
memory of all processes together: N must not matter. A last training holds the most images in memory, which shows what
would be seen otherwise. `million` writes one million images of 64×64 pixels into a Lance table, trains 200 steps and
starts again. Each training is a process of its own; its memory is the sum over it and its workers of what they hold
(the proportional set size, where a page that several share counts once), looked at five times a second. Pages of files,
such as libraries, are told apart: the system drops and reads them again as it likes.
Usage: python benchmarks/memory.py growth|million [--folder DIR] [--images N ...] [--code DIR] [--write FILE]
"""

import argparse
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

MANY, CLASSES, SIDE, STEPS, AGAIN = 1_000_000, 1000, 64, 200, 5
BATCH = 32
DISTINCT = 100_000  # drawing them all would take longer than all the rest; each stands ten times, in its class
_CHILD = """
import sys, time
from dml.modules.embedding import EmbeddingModule
step = EmbeddingModule.training_step
def timed(self, *values, **more):
    if not hasattr(EmbeddingModule, "begun"):
        EmbeddingModule.begun = True
        print("first step after", time.time() - float(sys.argv[1]), flush=True)
        print("computed until then", time.process_time(), flush=True)
    return step(self, *values, **more)
EmbeddingModule.training_step = timed
from dml.cli import main
code = main(sys.argv[2:])
print("ended after", time.time() - float(sys.argv[1]), flush=True)
sys.exit(code)
"""


class Training(NamedTuple):
    """What one training took: its exit code, seconds to the first step and to the end, and the most memory (MiB).

    Of the memory, `own` are the pages that are not those of files.
    """

    code: int
    first: float
    end: float
    peak: float
    own: float
    output: str


def held(pid: int) -> tuple[int, int]:
    """Return the bytes that a process and all it has started hold, and those of them that are not of files.

    Pages that several share count once.
    """
    total, own = 0, 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text()
            if int(path.name) != pid and pid not in ancestors(path):
                continue
            sizes = dict(re.findall(r"^(Pss\w*):\s+(\d+)", (path / "smaps_rollup").read_text(), re.MULTILINE))
        except (OSError, ValueError):
            continue
        total += 1024 * int(sizes.get("Pss", 0)) if stat else 0
        own += 1024 * (int(sizes.get("Pss_Anon", 0)) + int(sizes.get("Pss_Shmem", 0))) if stat else 0
    return total, own


def ancestors(path: Path) -> list[int]:
    found, pid = [], int(path.name)
    while pid > 1:
        pid = int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
        found.append(pid)
    return found


def train(words: Sequence[str], code: Path) -> Training:
    """Run `dml fit` of some source tree in a process of its own and watch it."""
    environment = os.environ | {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-c", _CHILD, str(time.time()), "fit", *words]
    peak = own = 0
    with tempfile.TemporaryFile("w+", errors="replace") as told:
        child = subprocess.Popen(command, env=environment, cwd=code, stdout=told, stderr=subprocess.STDOUT)
        while child.poll() is None:
            now, own_now = held(child.pid)
            peak, own = max(peak, now), max(own, own_now)
            time.sleep(0.2)
        told.seek(0)
        output = told.read()
    seconds = [re.search(rf"^{what} after ([\d.]+)", output, re.MULTILINE) for what in ("first step", "ended")]
    first, end = (float(found[1]) if found else float("nan") for found in seconds)
    return Training(child.returncode, first, end, peak / 2**20, own / 2**20, output)


def write_photos(root: Path, count: int, side: int = 224) -> None:
    """Write smooth random JPEG files in ten class folders, each with a tint of its class; what is there stays."""
    for i in range(count):
        path = root / f"class{i % 10}" / f"{i:06d}.jpg"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            smooth_image(i, i % 10, side).save(path, quality=80)


def smooth_image(seed: int, label: int, side: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    tint = np.random.default_rng([7, label]).integers(0, 160, (1, 1, 3))
    small = Image.fromarray((rng.integers(0, 96, (4, 4, 3)) + tint).astype(np.uint8))
    return small.resize((side, side), Image.Resampling.BICUBIC)


def encoded(numbers: range) -> Iterator[bytes]:
    """Yield smooth random images as JPEG files, each with a tint of its class."""
    tints = np.random.default_rng(7).integers(0, 160, (CLASSES, 1, 1, 3))[np.array(numbers) % CLASSES]
    small = np.random.default_rng(numbers.start).integers(0, 96, (len(numbers), 4, 4, 3)) + tints
    for pixels in small.astype(np.uint8):
        buffer = io.BytesIO()
        image = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        image.save(buffer, "JPEG", quality=80)
        yield buffer.getvalue()


def write_million(place: Path, count: int) -> None:
    """Write images of 64×64 pixels as `dml convert` would, without a file for each; 100 of each class are distinct."""
    import hashlib

    import lance
    import pyarrow as arrow

    names = {"name": arrow.string(), "label": arrow.string(), "image": arrow.large_binary(), "hash": arrow.binary()}
    schema = arrow.schema(list(names.items()))

    def batches() -> Iterator[Any]:
        drawn = list(encoded(range(min(count, DISTINCT))))
        for start in range(0, count, 2000):
            numbers = range(start, min(start + 2000, count))
            images = [drawn[i % DISTINCT] for i in numbers]
            labels = [f"class{i % CLASSES:04d}" for i in numbers]
            columns = {
                "name": [f"{label}/{i:07d}.jpg" for label, i in zip(labels, numbers, strict=True)],
                "label": labels,
                "image": images,
                "hash": [hashlib.blake2b(each, digest_size=16).digest() for each in images],
            }
            yield arrow.record_batch(columns, schema=schema)

    lance.write_dataset(arrow.RecordBatchReader.from_batches(schema, batches()), str(place))


def recipe(folder: Path, name: str, *more: str) -> list[str]:
    """Return the words of a small training on the CPU."""
    return [
        "--name",
        name,
        f"--runs_dir={folder / 'runs'}",
        "--model.encoder=dml.encoders.ConvEncoder",
        "--model.encoder.embedding_dim=64",
        "--trainer.accelerator=cpu",
        "--pictures.projection=none",
        *more,
    ]


def growth(folder: Path, counts: Sequence[int], code: Path, side: int = 224) -> list[str]:
    """Measure memory over the number of images."""
    about = "| decoded, MiB | where | largest memory, MiB | without files | seconds | exit code |"
    lines = [f"| images of {side}×{side} {about}", "|---:|---:|---|---:|---:|---:|---:|"]
    image, peaks = 3 * side**2, []
    trainings = [(count, BATCH * 4 * image, "decoded batch by batch") for count in sorted(counts)]
    for count, limit, where in [*trainings, (max(counts), max(counts) * image, "held in memory")]:
        found = train_photos(folder, count, limit, code, side)
        peaks.append(found.own)
        about = f"{count:,} | {count * image / 2**20:,.0f} | {where}"
        lines.append(f"| {about} | {found.peak:,.0f} | {found.own:,.0f} | {found.end:.0f} | {found.code} |")
        print(lines[-1], flush=True)
    batchwise = np.polyfit(sorted(counts), peaks[:-1], 1)[0] * 1000 if len(counts) > 1 else float("nan")
    told = f"A thousand images more take {batchwise:.1f} MiB more (without files) batch by batch; decoded they have"
    return [*lines, "", f"{told} {1000 * image / 2**20:.1f} MiB."]


def train_photos(folder: Path, count: int, limit: int, code: Path, side: int) -> Training:
    """Train an epoch on so many files with a limit of so many bytes, nothing kept from one training to the next."""
    root = folder / f"photos{side}-{count}"
    write_photos(root, count, side)
    keys = [f"--data.root={root}", f"--data.image_size={side}", f"--data.memory_limit={limit / 2**30 + 1e-9:.9f}"]
    keys += ["--data.workers=2", "--data.cache=false", "--trainer.max_epochs=1"]
    keys += [f"--data.batch_size={BATCH}", f"--data.eval_batch_size={BATCH}"]
    keys += ["--model.encoder.channels=[8,16]", "--model.encoder.first_stride=4"]
    keys += ["--evaluation.baseline_memory=128MiB"]
    found = train(recipe(folder, f"growth-{count}-{time.time():.0f}", *keys), code)
    if found.code:
        print(found.output[-1500:], file=sys.stderr)
    return found


def million(folder: Path, count: int, code: Path) -> list[str]:
    """Train on one million images, twice."""
    place = folder / "million.lance"
    if not place.exists():
        begun = time.perf_counter()
        write_million(place, count)
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        print(f"written in {time.perf_counter() - begun:.0f} s, {size / 2**30:.2f} GiB", flush=True)
    head = "| start | steps | seconds to the first step | seconds in all | largest memory, MiB | exit code |"
    lines = [head, "|---|---:|---:|---:|---:|---:|"]
    keys = [f"--data.root={place}", f"--data.image_size={SIDE}", "--data.memory_limit=0.25", "--data.workers=2"]
    keys += ["--data.split=dml.data.ClassDisjointSplit", "--data.split.val=4", "--data.split.test=4"]
    keys += ["--data.batch_size=128", "--data.classes_per_batch=32", "--evaluation.baseline_memory=128MiB"]
    keys += ["--model.encoder.channels=[8,16]", "--model.encoder.first_stride=2"]
    for number, steps in (("first", STEPS), ("second", AGAIN)):
        found = train(recipe(folder, f"million-{time.time():.0f}", *keys, f"--trainer.max_steps={steps}"), code)
        print(found.output[-3000:], file=sys.stderr)
        measured = f"{found.first:.1f} | {found.end:.0f} | {found.peak:,.0f} | {found.code}"
        lines.append(f"| {number} | {steps} | {measured} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("growth", "million"))
    parser.add_argument("--folder", type=Path, default=Path("memory"), help="for images, tables and runs")
    parser.add_argument("--images", type=int, nargs="*", help="how many (1000 2000 4000; 1,000,000)")
    parser.add_argument("--side", type=int, default=224, help="of the images of `growth`, in pixels (224)")
    parser.add_argument("--code", type=Path, default=Path(__file__).parents[1], help="the source tree that is measured")
    parser.add_argument("--write", type=Path, help="add the table to this file")
    parser.add_argument("--remove", action="store_true", help="remove the images and runs afterwards")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    folder, code = options.folder.resolve(), options.code.resolve()
    os.environ["DML_CACHE"] = str(folder / "cache")
    if options.what == "growth":
        lines = growth(folder, options.images or (1000, 2000, 4000), code, options.side)
    else:
        lines = million(folder, (options.images or [MANY])[0], code)
    about = f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPU cores, Python {platform.python_version()}, "
    about += ", ".join(f"{name} {version(name)}" for name in ("torch", "pylance", "pyarrow", "pillow"))
    print("\n".join([about, "", *lines]))
    if options.write:
        with options.write.open("a", encoding="utf-8") as file:
            file.write("\n".join(["", about + ".", "", *lines, ""]))
    if options.remove:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
