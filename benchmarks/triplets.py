"""Time and peak memory of the triplet loss over all triplets, forward and backward, beside pytorch-metric-learning's.

Each figure comes from a process of its own, so that peaks of memory are told apart; both sides get the same embeddings.

Usage: python benchmarks/triplets.py [--classes 10 | --per-class 4] [--dim 64] [--sizes 50 128 ...] [--limit-gib 16]
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

CPU_SIZES = (50, 128, 256, 512, 1024, 2048, 4096, 8192)
GPU_SIZES = (16384, 65536)
MARGIN, GIB = 0.7, 2**30
EXACT_UP_TO = 1024  # above, looping over the anchors takes minutes


def losses(side: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the mean over all triplets of max(0, d²_ap − d²_an + margin), by either side."""
    if side == "dml":
        from dml.losses import TripletLoss

        return TripletLoss(MARGIN)
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.reducers import MeanReducer

    distance = LpDistance(normalize_embeddings=False, p=2, power=2)
    return TripletMarginLoss(margin=MARGIN, distance=distance, reducer=MeanReducer())


def batch(size: int, classes: int, dim: int) -> tuple[Tensor, Tensor]:
    """Return random unit embeddings and balanced labels in random order."""
    generator = torch.Generator().manual_seed(size)
    embeddings = torch.nn.functional.normalize(torch.randn(size, dim, generator=generator))
    return embeddings, torch.randperm(size, generator=generator) % classes


def exact(embeddings: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Return value and gradient from every triplet in float64, one anchor after another."""
    points = embeddings.double().requires_grad_()
    total, count = 0.0, 0
    for anchor, label in enumerate(labels):
        positive, negative = labels == label, labels != label
        positive[anchor] = False
        distances = (points[anchor] - points).square().sum(dim=1)
        hinges = (distances[positive][:, None] - distances[negative] + MARGIN).clamp(min=0)
        hinges.sum().backward()
        total, count = total + hinges.sum().item(), count + hinges.numel()
    assert points.grad is not None
    return total / count, points.grad / count


def measure(side: str, size: int, classes: int, dim: int, device: str, out: Path) -> dict[str, Any]:
    """Run forward and backward for 3 s or 300 times; return value, gradient, the least time and the peak of memory."""
    embeddings, labels = (tensor.to(device) for tensor in batch(size, classes, dim))
    embeddings.requires_grad_()
    loss, times = losses(side), []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    while len(times) < 2 or (sum(times) < 3 and len(times) < 300):
        embeddings.grad = None
        start = time.perf_counter()
        value = loss(embeddings, labels)
        value.backward()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    torch.save(embeddings.grad.cpu(), out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device == "cuda":
        before, peak = 0, torch.cuda.max_memory_allocated()
    return {"value": value.item(), "seconds": min(times), "peak": peak, "added": peak - before}


def work(arguments: list[str]) -> None:
    """Measure one side at one size in this process, under a limit of memory; print JSON."""
    side, size, classes, dim, device, out, limit, threads = arguments
    torch.set_num_threads(int(threads))
    if device == "cpu":
        resource.setrlimit(resource.RLIMIT_DATA, (int(float(limit) * GIB),) * 2)
    try:
        result = measure(side, int(size), int(classes), int(dim), device, Path(out))
    except (RuntimeError, MemoryError) as error:
        result = {"failure": failure(str(error), limit)}
    print(json.dumps(result))


def failure(message: str, limit: str) -> str:
    return f"needs more than {limit} GiB" if "allocat" in message.lower() else message.splitlines()[0][:60]


def run(side: str, size: int, device: str, options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Measure one side at one size in a process of its own."""
    arguments = [
        side,
        str(size),
        str(classes_in(size, options)),
        str(options.dim),
        device,
        str(out),
        f"{options.limit_gib:g}",
        str(options.threads),
    ]
    done = subprocess.run([sys.executable, __file__, "--worker", *arguments], capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1][:60] if done.stderr.strip() else f"exit code {done.returncode}"
        return {"failure": reason}
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def classes_in(size: int, options: argparse.Namespace) -> int:
    """Return how many classes a batch of that size has."""
    return int(size // options.per_class if options.per_class else options.classes)


def row(size: int, device: str, options: argparse.Namespace) -> str:
    """Measure both sides at one size, as a row of the table."""
    truth = exact(*batch(size, classes_in(size, options), options.dim)) if size <= EXACT_UP_TO else None
    cells, results = [str(size), device], []
    for side in ("dml", "peer"):
        with tempfile.TemporaryDirectory() as folder:
            result = run(side, size, device, options, Path(folder) / "gradient")
            gradient = None if "failure" in result else torch.load(Path(folder) / "gradient")
        results.append(result)
        if gradient is None:
            cells += [f"fails: {result['failure']}", "", ""]
            continue
        apart = "" if truth is None else error(result["value"], gradient, *truth)
        cells += [show(result["seconds"]), f"{result['peak'] / GIB:.2f} (+{result['added'] / GIB:.2f})", apart]
    ours, peer = results
    ratio = "" if "failure" in ours | peer else f"{peer['seconds'] / ours['seconds']:.1f}"
    return " | ".join(["", *cells, ratio, ""]).strip()


def error(value: float, gradient: Tensor, true_value: float, true_gradient: Tensor) -> str:
    apart = (gradient - true_gradient).norm() / true_gradient.norm()
    return f"{abs(value / true_value - 1):.0e}, {float(apart):.0e}"


def show(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--per-class", type=int, help="images of a class, instead of a number of classes")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--sizes", type=int, nargs="+", default=CPU_SIZES)
    parser.add_argument("--limit-gib", type=float, default=16, help="memory that either side may take on the CPU")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    cuda = torch.cuda.is_available()
    peer = version("pytorch-metric-learning")
    device = "; " + torch.cuda.get_device_name() if cuda else ""
    load = os.getloadavg()[0]  # on a busy machine, threads that wait for each other make small sizes slow
    print(
        f"{date.today()}; {platform.machine()}, {options.threads} threads, {os.cpu_count()} CPU cores{device};", end=""
    )
    print(f" load of the machine before: {load:.1f};")
    print(f"torch {version('torch')}; peer: TripletMarginLoss of pytorch-metric-learning {peer}.")
    classes = f"{options.per_class} images a class" if options.per_class else f"{options.classes} classes"
    print(f"{classes}, D={options.dim}, unit embeddings, margin {MARGIN}, squared distances, mean over all.")
    print("Time: the least of forward and backward. Memory: peak of the process in GiB, above its start in brackets;")
    print(f"at most {options.limit_gib:g} GiB. Error: relative, of value and gradient, from a float64 loop.\n")
    print("| B | device | dml | memory | error | peer | memory | error | time ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    runs = [(size, "cpu") for size in options.sizes] + [(size, "cuda") for size in GPU_SIZES if cuda]
    for size, device in runs:
        print(row(size, device, options), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2:])
    else:
        main()
