"""The evaluator beside its peers in one run: bare FAISS search, scikit-learn's brute force, pytorch-metric-learning.

python benchmarks/evaluation.py speed [--largest N]      all our scores against the bare search for the same k
python benchmarks/evaluation.py memory                   peak memory beyond the inputs, each shape in its own process
python benchmarks/evaluation.py references --cifar ZIP [--pictures DIR]   the k-NN course work on 5000/500 images, C1-C4
python benchmarks/evaluation.py gpu                      the largest shape on a GPU against FAISS on its CPU

Times are wall seconds and processor seconds (user + system, all threads); on a shared machine the ratio of the latter
is the steadier one.
"""

import argparse
import io
import platform
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import torch
from PIL import Image
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import FaissKNN
from sklearn.neighbors import NearestNeighbors

from dml import runs
from dml.evaluation import mean_scores, query_scores, retrieval_scores
from dml.neighbors import KNNClassifier
from dml.studies import CrossValidation, cross_validate
from dml.studies.figures import error_against_k, error_bars

RESULTS = Path(__file__).parent / "results"


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


def draw(shape: Shape, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return unit embeddings of overlapping classes, every class at least twice, and their labels."""
    rng = np.random.default_rng(0)
    rest = rng.integers(0, shape.classes, shape.samples - 2 * shape.classes)
    y = np.sort(np.concatenate([np.tile(np.arange(shape.classes), 2), rest]))
    x = rng.standard_normal((shape.classes, shape.dim), np.float32)[y]
    x += spread * rng.standard_normal(x.shape, np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True), y


def clock(call: Callable[[], Any]) -> tuple[float, float, Any]:
    wall, processor = time.perf_counter(), time.process_time()
    result = call()
    return time.perf_counter() - wall, time.process_time() - processor, result


def speed(largest: int) -> None:
    for spread, kind in ((1.0, "separated classes, as training leaves them"), (2.0, "hardly separated classes")):
        print(f"\n{kind[0].upper()}{kind[1:]}\n")
        print(
            "| shape | N x D, classes | k | MAP@R | ours, all scores | bare FAISS | ratio wall, cpu | sklearn | PML "
            "| largest gap |\n|---|---|---|---|---|---|---|---|---|---|"
        )
        for shape in SHAPES:
            if shape.samples <= largest:
                print(compare(shape, *draw(shape, spread)), flush=True)


def compare(shape: Shape, x: np.ndarray, y: np.ndarray) -> str:
    """Return a row of the table; the gap is that of MAP@R and R-precision to pytorch-metric-learning's."""
    k = int(np.bincount(y).max())
    ours, bare = [], []
    rounds = 5 if shape.samples <= 10_000 else 3 if shape.samples <= 30_000 else 1
    for _ in range(rounds):  # interleaved, so that a busy machine slows both
        ours.append(clock(lambda: retrieval_scores(x, y)))
        bare.append(clock(lambda: faiss.knn(x, x, k)))
    wall, wall_bare = (min(run[0] for run in runs) for runs in (ours, bare))
    cpu, cpu_bare = (min(run[1] for run in runs) for runs in (ours, bare))
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
        f"| {wall:.3f} s | {wall_bare:.3f} s | {wall / wall_bare:.2f}, {cpu / cpu_bare:.2f} "
        f"| {brute} | {peer} | {gap} |"
    )


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


def read_cifar(path: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return 5000 and 500 images (n,3072) of a zip of class folders and their classes, drawn with the seed."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith((".jpg", ".png")))
        classes = sorted({Path(name).parent.name for name in names})
        chosen = [names[i] for i in np.random.default_rng(seed).permutation(len(names))[:5500]]
        x = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name)))).ravel() for name in chosen])
    y = np.array([classes.index(Path(name).parent.name) for name in chosen])
    return x[:5000].astype(np.float32), y[:5000], x[5000:].astype(np.float32), y[5000:]


def draw_errors(found: CrossValidation, folder: Path) -> None:
    """Draw error against k for each metric with the standard error over the folds, and the metrics at their best k."""
    folder.mkdir(parents=True, exist_ok=True)
    errors = dict(zip(found.metrics, found.errors, strict=True))
    error_against_k(found.ks, errors).savefig(folder / "error_against_k.png", dpi=120)
    at_best = {f"{m} (k={found.ks[e.mean(axis=1).argmin()]})": e[e.mean(axis=1).argmin()] for m, e in errors.items()}
    error_bars(at_best, "error on the held-out fold").savefig(folder / "error_of_norms.png", dpi=120)


def references(cifar: str, pictures: str | None) -> None:
    """Run C1 to C4 on three draws of the images; the loops and the slow norm on the first alone."""
    print("CIFAR-10, 5000/500 raw pixels, both drawn from the training images; JPEG quality 75 where the copy is")
    for seed in range(3):
        print(f"\nseed {seed}")
        x, y, q, truth = read_cifar(cifar, seed)
        keep(seed, C1=nearest(x, y, q, truth, with_loops=seed == 0))
        at_l2, norms = choose(x, y, ("l1", "l2", "linf") if seed == 0 else ("l1", "l2"))
        keep(seed, C2=at_l2, C3=norm_scores(norms))
        if seed == 0:
            keep(seed, C3_linf=norm_scores(norms, "linf"))
            runs.write_json(
                RESULTS / "cross_validation.json",
                {"ks": norms.ks, "errors": dict(zip(norms.metrics, norms.errors.tolist(), strict=True))},
            )
            if pictures is not None:
                draw_errors(norms, Path(pictures))
        wrong = float(np.mean(KNNClassifier(norms.k, metric=norms.metric).fit(x, y).predict(q) != truth))
        print(f"C4  test error with k={norms.k}, {norms.metric}: {wrong:.3f}")
        keep(seed, C4={"test": {"error": wrong, "k": norms.k}})


def keep(seed: int, **rows: dict[str, Any]) -> None:
    """Write the scores of a row of the reference experiments where README's table reads them."""
    for row, scores in rows.items():
        runs.write_json(RESULTS / "scores" / row / f"seed{seed}.json", scores)


def nearest(x: np.ndarray, y: np.ndarray, q: np.ndarray, truth: np.ndarray, with_loops: bool) -> dict[str, Any]:
    fast, fast_cpu, ours = clock(lambda: KNNClassifier(k=1).fit(x, y).predict(q))
    error = float(np.mean(ours != truth))
    print(f"C1  k=1: error {error:.3f}; ours {fast:.2f} s ({fast_cpu:.2f} cpu)")
    if not with_loops:
        return {"test": {"error": error}}

    def loops() -> np.ndarray:
        distances = np.empty((len(q), len(x)))
        for i, one in enumerate(q):
            for j, other in enumerate(x):
                distances[i, j] = np.sqrt(np.sum((one - other) ** 2))
        return y[distances.argmin(axis=1)]

    looped, looped_cpu, slow = clock(loops)
    differ = int(np.sum(slow != ours))
    print(f"    loops {looped:.1f} s ({looped_cpu:.1f} cpu); {differ} predictions differ")
    seconds = {"seconds": fast, "processor_seconds": fast_cpu}
    seconds |= {"loop_seconds": looped, "loop_processor_seconds": looped_cpu}
    return {"test": {"error": error, "predictions_that_differ": differ}, "time": seconds}


def choose(x: np.ndarray, y: np.ndarray, metrics: tuple[str, ...]) -> tuple[dict[str, Any], CrossValidation]:
    """Return C2's scores, k chosen under l2 on five folds, and C3's cross-validation over metrics."""
    ks = (1, 2, 3, 5, 7, 10, 15, 20, 25, 30)
    seconds, cpu, found = clock(lambda: cross_validate(x, y, ks, ("l2",), folds=5))
    means = found.errors.mean(axis=2)[0]
    errors = ", ".join(f"{k}: {e:.3f}" for k, e in zip(ks, means, strict=True))
    spread = found.errors[0, ks.index(found.k)].std(ddof=1) / np.sqrt(5)
    print(f"C2  5-fold CV over k in {seconds:.1f} s ({cpu:.1f} cpu): best k={found.k} (± {spread:.3f}); {errors}")
    scores = {"error": float(means.min()), "k": found.k, "fold_standard_error": float(spread)}
    timed = {"seconds": seconds, "processor_seconds": cpu}
    seconds, cpu, norms = clock(lambda: cross_validate(x, y, ks, metrics, folds=5))
    best = {m: (e.min(), ks[e.argmin()]) for m, e in zip(metrics, norms.errors.mean(axis=2), strict=True)}
    print(
        f"C3  {', '.join(metrics)}, all k in {seconds:.1f} s ({cpu:.1f} cpu):",
        ", ".join(f"{m} {e:.3f} (k={k})" for m, (e, k) in best.items()),
    )
    seconds, cpu, cosine = clock(lambda: cross_validate(x, y, ks, ("cosine",), folds=5))
    print(f"    cosine in {seconds:.1f} s ({cpu:.1f} cpu): {cosine.errors.mean(axis=2).min():.3f} (k={cosine.k})")
    at = ks.index(found.k)
    print(f"    at k={found.k}:", ", ".join(f"{m} {norms.errors[i, at].mean():.3f}" for i, m in enumerate(metrics)))
    return {"val": scores, "time": timed}, norms


def norm_scores(norms: CrossValidation, *names: str) -> dict[str, Any]:
    """Return the lowest error over k of each metric: those named, or l1 and l2."""
    best = dict(zip(norms.metrics, norms.errors.mean(axis=2).min(axis=1).tolist(), strict=True))
    return {"val": {f"error_{name}": best[name] for name in names or ("l1", "l2")}}


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
    parser.add_argument("part", choices=("speed", "memory", "references", "gpu"))
    parser.add_argument("--largest", type=int, default=10**9)
    parser.add_argument("--cifar")
    parser.add_argument("--pictures")
    parser.add_argument("--only")
    options = parser.parse_args()
    versions = f"torch {torch.__version__}, numpy {np.__version__}, faiss {faiss.__version__}"
    if options.only is None:
        print(f"{date.today()}, {torch.get_num_threads()} CPU cores, Python {platform.python_version()}, {versions}\n")
    if options.part == "references" and options.cifar is None:
        parser.error("references need --cifar ZIP")
    parts = {
        "speed": lambda: speed(options.largest),
        "memory": lambda: memory(options.only),
        "references": lambda: references(options.cifar, options.pictures),
        "gpu": gpu,
    }
    parts[options.part]()


if __name__ == "__main__":
    main()
