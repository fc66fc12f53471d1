"""Time and peak memory of the triplet loss over all triplets, forward and backward, beside pytorch-metric-learning's.

Each figure comes from a process of its own, so that peaks of memory are told apart; both sides get the same embeddings
and must agree in value and gradient. Usage: python benchmarks/triplets.py [--classes 10] [--sizes 50 128 ...]
[--limit-gib 16]
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

CPU_SIZES = (50, 128, 256, 512, 1024, 2048, 4096, 8192)
GPU_SIZES = (16384, 65536)
DIM, MARGIN, GIB = 64, 0.7, 2**30


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


def measure(side: str, size: int, classes: int, device: str, out: Path) -> dict[str, Any]:
    """Run forward and backward for 2 s or 30 times; keep value, gradient, the median time and the peak of memory."""
    generator = torch.Generator().manual_seed(size)
    embeddings = torch.nn.functional.normalize(torch.randn(size, DIM, generator=generator)).to(device).requires_grad_()
    labels = (torch.randperm(size, generator=generator) % classes).to(device)
    loss, times = losses(side), []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    while len(times) < 2 or (sum(times) < 2 and len(times) < 30):  # the first warms up
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
    return {"value": value.item(), "seconds": statistics.median(times[1:]), "peak": peak, "added": peak - before}


def work(arguments: list[str]) -> None:
    """Measure one side at one size in this process, under a limit of memory; print JSON."""
    side, size, classes, device, out, limit = arguments
    torch.set_num_threads(2)
    if device == "cpu":
        resource.setrlimit(resource.RLIMIT_DATA, (int(float(limit) * GIB),) * 2)
    try:
        result = measure(side, int(size), int(classes), device, Path(out))
    except (RuntimeError, MemoryError) as error:
        result = {"failure": str(error).splitlines()[0][:60]}
    print(json.dumps(result))


def run(side: str, size: int, device: str, options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Measure one side at one size in a process of its own."""
    arguments = [side, str(size), str(options.classes), device, str(out), str(options.limit_gib)]
    done = subprocess.run([sys.executable, __file__, "--worker", *arguments], capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1][:60] if done.stderr.strip() else f"exit code {done.returncode}"
        return {"failure": reason}
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def row(size: int, device: str, options: argparse.Namespace) -> str:
    """Compare both sides at one size, as a row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        files = {side: Path(folder) / side for side in ("dml", "peer")}
        ours, peer = (run(side, size, device, options, file) for side, file in files.items())
        if "failure" in ours:
            return f"| {size} | {device} | fails: {ours['failure']} | | | | | | |"
        cells = f"| {size} | {device} | {show(ours['seconds'])} | {memory(ours)} "
        if "failure" in peer:
            return cells + f"| fails: {peer['failure']} | | | | |"
        grads = [torch.load(file) for file in files.values()]
    apart = abs(ours["value"] / peer["value"] - 1), float((grads[0] - grads[1]).norm() / grads[1].norm())
    cells += f"| {show(peer['seconds'])} | {memory(peer)} "
    return cells + f"| {peer['seconds'] / ours['seconds']:.1f} | {apart[0]:.0e} | {apart[1]:.0e} |"


def show(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def memory(result: dict[str, Any]) -> str:
    return f"{result['peak'] / GIB:.2f} (+{result['added'] / GIB:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--limit-gib", type=float, default=16, help="memory either side may take on the CPU")
    options = parser.parse_args()
    cuda = torch.cuda.is_available()
    print(
        f"{options.classes} classes, D={DIM}, margin {MARGIN}, squared, mean over all; {platform.machine()}, 2 threads"
    )
    print(f"torch {version('torch')}, pytorch-metric-learning {version('pytorch-metric-learning')}", end="")
    print(f"; {torch.cuda.get_device_name()}" if cuda else "")
    print(
        f"Peak memory of the process in GiB, above what it held before in brackets; limit {options.limit_gib:g} GiB\n"
    )
    print("| B | device | dml | peak | peer | peak | time ratio | value apart | gradient apart |")
    print("|---|---|---|---|---|---|---|---|---|")
    runs = [(size, "cpu") for size in options.sizes or CPU_SIZES] + [(size, "cuda") for size in GPU_SIZES if cuda]
    for size, device in runs:
        print(row(size, device, options), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2:])
    else:
        main()
