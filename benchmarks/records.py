"""Trains the recipes below `configs/records` under several seeds and compares them with the marks they were made for.

    python benchmarks/records.py cifar10 cifar10_long --root TRAIN_FOLDER
    python benchmarks/records.py flowers --root FLOWERS/train
    python benchmarks/records.py omniglot --root images_background_small1.zip --queries ONE_SHOT_RUNS
    python benchmarks/records.py mnist 100_labels autoencoder_d10 autoencoder_d30 --root MNIST
    python benchmarks/records.py --table

Each training is a process of its own, `dml fit`, timed from its start to its end; what it is scored by follows and is
not timed. Scores and times go to `results/scores/record_NAME/seedN.json`, a file for each seed, and the table of all
records is written from these. A run that is there is not trained again. One-shot runs of another set's alphabets are
made by `omniglot.py`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from scipy import stats

from dml import runs

RESULTS = Path(__file__).parent / "results"
SCORES, TABLE = RESULTS / "scores", RESULTS / "records.md"
CONFIGS = Path(__file__).parents[1] / "configs" / "records"
HEADS = ("linear", "mlp")
OF_RECIPE = "of the recipe"  # the precision
HEAD = """# Records and their marks

`python benchmarks/records.py`: trained from scratch, settings chosen on validation; test errors of earlier runs on
MNIST were seen on the way, the size of `records/mnist_knn` was chosen by no score, and Omniglot's settings were
chosen on the runs that score it. Mean ± standard deviation over seeds, in brackets Student's interval of 95 % of
the mean; minutes of the whole `dml fit` (imports, scores and pictures included), of the wall and of the processor,
and how many threads it had: runs on one thread shared the machine with others, so that their wall time says
nothing. Runs in `32-true` were on a processor without bfloat16, which is several times slower; `jemalloc` in place
of the C library's allocator keeps memory for the next step (`docs/guides/reproducing.md`). CIFAR-10's two ran on
cores with AMX, the long one on one of them; the settings of `records/cifar10_knn` were chosen on the validation
images of seed 0. CIFAR-10 is a copy re-encoded as JPEG of quality 75, and its validation images are a tenth of its
training images.

| recipe | score | mark | found | seeds | reached | minutes: may take | wall | processor | threads | date |
|---|---|---|---|---|---|---|---|---|---|---|"""


class Mark(NamedTuple):
    """A score, where it stands in the scores' file, and what it is to reach; `least`: at least that, else at most."""

    score: str
    told: str
    value: float
    least: bool = True


class Record(NamedTuple):
    """A recipe, the key of its data, the minutes it may take, its marks, and what else is set."""

    config: str
    data: str
    minutes: float
    marks: tuple[Mark, ...]
    fixed: tuple[str, ...] = ()


HEAD_MARKS = tuple(
    Mark(f"heads/{head}/val/accuracy", f"accuracy of {name} head on the frozen encoder", 0.92)
    for head, name in zip(HEADS, ("a linear", "an MLP"), strict=True)
)
RECORDS = {
    "cifar10": Record(
        "cifar10_knn", "data.root", 30, (Mark("val/knn_accuracy", "k-NN accuracy, k = 20", 0.92), *HEAD_MARKS)
    ),
    "cifar10_long": Record(
        "cifar10_knn_long", "data.root", 180, (Mark("val/knn_accuracy", "k-NN accuracy, k = 20", 0.92), *HEAD_MARKS)
    ),
    "flowers": Record("flowers_conv", "data.root", 30, (Mark("val/knn_accuracy", "k-NN accuracy, k = 36", 0.96),)),
    "omniglot": Record(
        "omniglot_oneshot",
        "data.source.root",
        30,
        (Mark("one_shot/error", "20-way one-shot error within an unseen alphabet", 0.045, least=False),),
    ),
    "mnist": Record(
        "mnist_knn", "data.source.root", 30, (Mark("test/knn_error", "test error, k = 20", 0.003, least=False),)
    ),
    "100_labels": Record(
        "mnist_100_labels",
        "data.source.root",
        30,
        (Mark("test/accuracy", "test accuracy, 100 labels in all", 0.95),),
    ),
    "autoencoder_d10": Record(
        "mnist_autoencoder",
        "data.source.root",
        5,
        (Mark("test/mse", "test error a pixel, d = 10", 0.0095, least=False),),
    ),
    "autoencoder_d30": Record(
        "mnist_autoencoder",
        "data.source.root",
        5,
        (Mark("test/mse", "test error a pixel, d = 30", 0.0037, least=False),),
        ("--model.encoder.embedding_dim=30",),
    ),
}


class Cost(NamedTuple):
    """Seconds of a process: of the wall, and of the processor."""

    wall: float
    processor: float


def dml(*words: str) -> Cost:
    """Run `dml` in a process of its own.

    Raises:
        SystemExit: It fails.
    """
    began = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "dml", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"dml {' '.join(words)} ended with {child.returncode}")
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime)


def score_heads(run: Path, root: str, seed: int) -> dict[str, Any]:
    """Train a linear and an MLP head on the run's encoder, frozen, and return their scores."""
    found = {}
    for head in HEADS:
        own = run.with_name(f"{run.name}-{head}")
        if not (own / runs.SCORES).exists():
            words = ["--config", f"cifar10/{head}_head", "--model.encoder.run", str(run), "--data.root", root]
            words += ["--data.split.val=0.1", f"--seed_everything={seed}", "--pictures.projection=none"]
            dml("fit", *words, "--name", own.name, "--runs_dir", str(own.parent))
        found[head] = runs.read_json(own / runs.SCORES)
    return found


def score_one_shot(run: Path, queries: str) -> dict[str, Any]:
    """Return the scores of one-shot runs, the error among them."""
    told = run / "one_shot.json"
    dml("evaluate", "--run", str(run), "--queries", queries, "--output", str(told))
    found: dict[str, Any] = runs.read_json(told)["queries"]
    return found | {"error": 1 - found["recall_at_1"]}


def train(name: str, seed: int, options: argparse.Namespace) -> None:
    """Train a recipe under a seed, score it, and keep scores and costs."""
    record, run = RECORDS[name], options.folder / f"{name}-{seed}"
    timed = run / "timed.json"
    if not timed.exists():
        config = str(CONFIGS / f"{record.config}.yaml")
        words = ["--config", config, f"--{record.data}={options.root}", *record.fixed]
        words += [f"--seed_everything={seed}", "--name", run.name, "--runs_dir", str(run.parent)]
        words += [] if options.precision is None else [f"--trainer.precision={options.precision}"]
        busy = os.getloadavg()[0]
        cost = dml("fit", *words)
        versions = {library: version(library) for library in ("torch", "lightning")}
        threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
        told = {"threads": threads, "load_before": busy, "date": f"{datetime.now(UTC):%Y-%m-%d}", "versions": versions}
        told |= {"precision": options.precision or OF_RECIPE, "preloaded": Path(os.environ.get("LD_PRELOAD", "")).name}
        runs.write_json(timed, cost._asdict() | told)
    if any(mark.score.startswith("test/") for mark in record.marks):
        dml("test", "--run", str(run))
    scores: dict[str, Any] = runs.read_json(run / runs.SCORES)
    if HEAD_MARKS[0] in record.marks:
        scores["heads"] = score_heads(run, options.root, seed)
    if name == "omniglot":
        scores["one_shot"] = score_one_shot(run, options.queries)
    if "knn_accuracy" in scores.get("test", {}):
        scores["test"]["knn_error"] = 1 - scores["test"]["knn_accuracy"]
    runs.write_json(SCORES / f"record_{name}" / f"seed{seed}.json", scores | {"timed": runs.read_json(timed)})
    print(name, seed, [f"{mark.told}: {read(scores, mark.score):.4f}" for mark in record.marks], flush=True)


def read(scores: dict[str, Any], name: str) -> float:
    value: Any = scores
    for part in name.split("/"):
        value = value[part]
    return float(value)


def interval(values: list[float]) -> str:
    """Return the mean ± standard deviation, and Student's interval of 95 % of the mean."""
    mean = statistics.fmean(values)
    digits = 4 if mean >= 0.05 else 5
    if len(values) < 2:
        return f"{mean:.{digits}f} (one seed)"
    deviation = statistics.stdev(values)
    half = float(stats.t.ppf(0.975, len(values) - 1)) * deviation / len(values) ** 0.5
    return f"{mean:.{digits}f} ± {deviation:.{digits}f} [{mean - half:.{digits}f}, {mean + half:.{digits}f}]"


def span(values: list[float]) -> str:
    """Return the least and the largest of values, rounded."""
    ends = [f"{end:.1f}" for end in (min(values), max(values))]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def threads_of(timed: dict[str, Any]) -> str:
    """Return how many threads a training had, its precision where that was not the recipe's, and its own allocator."""
    precision = timed.get("precision", OF_RECIPE)  # runs of before do not say it
    preloaded = timed.get("preloaded", "").partition(".so")[0].removeprefix("lib")
    return ", ".join(filter(None, [str(timed["threads"]), "" if precision == OF_RECIPE else precision, preloaded]))


def write_table() -> None:
    """Write the table of all records from the scores that are kept."""
    lines = [HEAD]
    for name, record in RECORDS.items():
        files = sorted((SCORES / f"record_{name}").glob("seed*.json"))
        if not files:
            continue
        found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        seeds = ", ".join(file.stem.removeprefix("seed") for file in files)
        timed = [each["timed"] for each in found]
        minutes = [span([each[key] / 60 for each in timed]) for key in ("wall", "processor")]
        threads = ", ".join(sorted({threads_of(each) for each in timed}))
        dates = ", ".join(sorted({each["date"] for each in timed}))
        cost = f"{record.minutes:.0f} | {' | '.join(minutes)} | {threads} | {dates}"
        for mark in record.marks:
            values = [read(each, mark.score) for each in found]
            mean = statistics.fmean(values)
            reached = mean >= mark.value if mark.least else mean <= mark.value
            aim = f"{'≥' if mark.least else '≤'} {mark.value:g}"
            row = f"`records/{record.config}` | {mark.told} | {aim} | {interval(values)} | {seeds}"
            lines.append(f"| {row} | {'yes' if reached else 'no'} | {cost} |")
    TABLE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def main() -> None:
    """Train, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="*", help=f"some of {', '.join(RECORDS)}, of one data set")
    parser.add_argument("--root", help="their data")
    parser.add_argument("--queries", help="one-shot runs, for omniglot")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--precision", help="in place of the recipes': 32-true on a processor without bfloat16")
    parser.add_argument("--folder", type=Path, default=Path("runs/records"), help="of the runs")
    parser.add_argument("--table", action="store_true", help="only write the table")
    options = parser.parse_args()
    if unknown := set(options.records) - RECORDS.keys():
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(RECORDS)}")
    if not options.table and not (options.records and options.root):
        parser.error("give records and --root, or --table")
    if "omniglot" in options.records and not options.queries:
        parser.error("omniglot needs --queries: python benchmarks/omniglot.py writes them")
    for seed in options.seeds:
        for name in () if options.table else options.records:
            train(name, seed, options)
    write_table()


if __name__ == "__main__":
    main()
