"""The evaluator beside its peers in one run: bare FAISS search, scikit-learn's brute force, pytorch-metric-learning.

python benchmarks/evaluation.py speed [--largest N]      all our scores against the bare search for the same k
python benchmarks/evaluation.py small                    sets of 2,000, on one thread
python benchmarks/evaluation.py memory                   peak memory beyond the inputs, each shape in its own process
python benchmarks/evaluation.py gpu                      the largest shape on a GPU against FAISS on its CPU

Times are wall seconds and processor seconds (user + system, all threads); on a shared machine the ratio of the latter
is the steadier one.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import FaissKNN
from sklearn.neighbors import NearestNeighbors

from dml.evaluation import mean_scores, query_scores, retrieval_scores

NEAREST = ["recall_at_1", "precision_at_10", "r_precision", "map_at_r", "knn_accuracy"]
FIRST = ["recall_at_1", "recall_at_5", "recall_at_10", "knn_accuracy"]  # of the ten nearest


class Shape(NamedTuple):
    """A data set's size."""

    name: str
    samples: int
    dim: int
    classes: int


SHAPES = [
    Shape("small", 2_000, 64, 100),
    Shape("CUB's", 5_924, 512, 100),
    Shape("CIFAR test's", 10_000, 128, 10),
    Shape("In-Shop's", 26_830, 512, 3_985),
    Shape("CIFAR's", 50_000, 128, 10),
    Shape("SOP's", 60_502, 512, 11_318),
]


SMALL = [Shape("", 2_000, 64, 100), *(Shape("", 2_000, 128, classes) for classes in (10, 100, 500))]


def draw(shape: Shape, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return unit embeddings of overlapping classes, every class at least twice, and their labels.

    A spread of infinity is noise, whatever the class.
    """
    rng = np.random.default_rng(0)
    rest = rng.integers(0, shape.classes, shape.samples - 2 * shape.classes)
    y = np.sort(np.concatenate([np.tile(np.arange(shape.classes), 2), rest]))
    x = rng.standard_normal((shape.classes, shape.dim), np.float32)[y]
    noise = rng.standard_normal(x.shape, np.float32)
    x = noise if np.isinf(spread) else x + spread * noise
    return x / np.linalg.norm(x, axis=1, keepdims=True), y


def clock(call: Callable[[], Any]) -> tuple[float, float, Any]:
    wall, processor = time.perf_counter(), time.process_time()
    result = call()
    return time.perf_counter() - wall, time.process_time() - processor, result


def speed(largest: int) -> None:
    for spread, kind in ((1.0, "separated classes, as training leaves them"), (2.0, "hardly separated classes")):
        print(f"\n{kind[0].upper()}{kind[1:]}\n")
        print(
            "| shape | N x D, classes | k | MAP@R | ours, all scores | of the nearest | bare FAISS | ratios wall, cpu "
            "| sklearn | PML | largest gap |\n|---|---|---|---|---|---|---|---|---|---|---|"
        )
        for shape in SHAPES:
            if shape.samples <= largest:
                print(compare(shape, *draw(shape, spread)), flush=True)


def compare(shape: Shape, x: np.ndarray, y: np.ndarray) -> str:
    """Return a row of the table; the gap is that of MAP@R and R-precision to pytorch-metric-learning's."""
    k = int(np.bincount(y).max())
    ours, nearest, bare = [], [], []
    rounds = 5 if shape.samples <= 10_000 else 3 if shape.samples <= 30_000 else 1
    for _ in range(rounds):  # interleaved, so that a busy machine slows both
        ours.append(clock(lambda: retrieval_scores(x, y)))
        nearest.append(clock(lambda: retrieval_scores(x, y, scores=NEAREST)))
        bare.append(clock(lambda: faiss.knn(x, x, k)))
    wall, wall_nearest, wall_bare = (min(run[0] for run in runs) for runs in (ours, nearest, bare))
    cpu, cpu_nearest, cpu_bare = (min(run[1] for run in runs) for runs in (ours, nearest, bare))
    brute, peer, gap, scores = "-", "-", "-", ours[0][2]
    if shape.samples * k < 5e7:
        brute = f"{clock(lambda: NearestNeighbors(n_neighbors=k, algorithm='brute').fit(x).kneighbors(x))[0]:.3f} s"
        names = ("mean_average_precision_at_r", "r_precision")
        knn = FaissKNN(index_init_fn=faiss.IndexFlatL2)
        calculator = AccuracyCalculator(include=names, k="max_bin_count", knn_func=knn, device=torch.device("cpu"))
        seconds, _, theirs = clock(lambda: calculator.get_accuracy(torch.from_numpy(x), torch.from_numpy(y)))
        peer = f"{seconds:.3f} s"
        gap = f"{max(abs(scores['map_at_r'] - theirs[names[0]]), abs(scores['r_precision'] - theirs[names[1]])):.0e}"
    return (
        f"| {shape.name} | {shape.samples} x {shape.dim}, {shape.classes} | {k} | {scores['map_at_r']:.2f} "
        f"| {wall:.3f} s | {wall_nearest:.3f} s | {wall_bare:.3f} s | {wall / wall_bare:.2f}, {cpu / cpu_bare:.2f}; "
        f"{wall_nearest / wall_bare:.2f}, {cpu_nearest / cpu_bare:.2f} "
        f"| {brute} | {peer} | {gap} |"
    )


def small() -> None:
    """Print the medians of pairs: processor seconds of ours by the mean of the bare search's before and after."""
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    print(
        "| N x D, classes | k | classes are | MAP@R | bare FAISS for k, for 10 | all scores | up to R, for k "
        "| of the ten nearest, for 10 |\n|---|---|---|---|---|---|---|---|"
    )
    for shape in SMALL:
        for spread, kind in ((1.0, "separated"), (2.0, "hardly separated"), (np.inf, "noise")):
            x, y = draw(shape, spread)
            k = int(np.bincount(y).max())
            first = retrieval_scores(x, y)["map_at_r"]
            pairs = [pair(x, y, *each) for each in ((None, k), (NEAREST, k), (FIRST, 10))]
            bare = ", ".join(f"{1000 * pairs[i][1]:.1f} ms" for i in (0, 2))
            cells = " | ".join(f"{1000 * ours:.1f} ms, {ratio:.2f}" for ours, _, ratio in pairs)
            size = f"{shape.samples} x {shape.dim}, {shape.classes}"
            print(f"| {size} | {k} | {kind} | {first:.2f} | {bare} | {cells} |", flush=True)


def pair(x: np.ndarray, y: np.ndarray, scores: list[str] | None, k: int) -> tuple[float, float, float]:
    """Return the median processor seconds of ours and of the bare search, and of their ratio, over 15 rounds."""
    rounds = []
    for _ in range(15):
        before, ours, after = (
            clock(call)[1]
            for call in (
                lambda: faiss.knn(x, x, k),
                lambda: retrieval_scores(x, y, scores=scores),
                lambda: faiss.knn(x, x, k),
            )
        )
        bare = (before + after) / 2
        rounds.append((ours, bare, ours / bare))
    ours, bare, ratio = (statistics.median(column) for column in zip(*rounds, strict=True))
    return ours, bare, ratio


def memory(only: str | None) -> None:
    for shape in SHAPES[-2:]:
        if only is None:
            subprocess.run([sys.executable, __file__, "memory", "--only", shape.name], check=True)
        elif shape.name == only:
            measure_memory(shape)


def measure_memory(shape: Shape) -> None:
    x, y = draw(shape)
    retrieval_scores(x[:2000], y[:2000] // 2)  # libraries loaded, threads started
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of drawing the data
    seconds, _, scores = clock(lambda: retrieval_scores(x, y, max_memory="2GiB"))
    peak = status("VmHWM") - before
    print(f"{shape.name} {x.shape}: {peak:.2f} GiB beyond the inputs, {seconds:.1f} s, MAP@R {scores['map_at_r']:.4f}")


def status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 2**20


def gpu() -> None:
    if not torch.cuda.is_available():
        print("no GPU here: skipped")
        return
    x, y = draw(SHAPES[-1], 2.0)
    retrieval_scores(x[:4096], y[:4096], device="cuda")  # warm
    seconds, _, ours = clock(lambda: mean_scores(query_scores(x, y, device="cuda", max_memory="32GiB")))
    on_cpu, _, _ = clock(lambda: faiss.knn(x, x, int(np.bincount(y).max())))
    same = "equal" if ours == retrieval_scores(x, y) else "differ"
    print(
        f"{torch.cuda.get_device_name()}: {seconds:.2f} s; FAISS on this CPU {on_cpu:.2f} s; CPU and GPU scores {same}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("speed", "small", "memory", "gpu"))
    parser.add_argument("--largest", type=int, default=10**9)
    parser.add_argument("--only")
    options = parser.parse_args()
    versions = f"torch {torch.__version__}, numpy {np.__version__}, faiss {faiss.__version__}"
    if options.only is None:
        print(f"{date.today()}, {torch.get_num_threads()} CPU cores, Python {platform.python_version()}, {versions}\n")
    parts = {
        "speed": lambda: speed(options.largest),
        "small": small,
        "memory": lambda: memory(options.only),
        "gpu": gpu,
    }
    parts[options.part]()


if __name__ == "__main__":
    main()
