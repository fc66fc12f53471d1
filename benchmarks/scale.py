"""Scores of many: time, memory and their growth from 10,000 to 1,000,000 samples, beside bare FAISS and the peer.

python benchmarks/scale.py [--sizes 10000 ... 1000000] [--queries 10000] [--threads 1] [--output scale]

Unit vectors of 128 numbers, 20 a class. Every way runs in a process of its own, on the same vectors: all our scores,
those that need the nearest references only (also over two processes), the bare FAISS search for as many neighbours, and
MAP@R by pytorch-metric-learning. `--queries` of the samples, evenly spread, are searched among all; 0: all of them. The
scores of the first 100 are compared with brute force in float64. Writes OUTPUT.md and OUTPUT.png, and after every
measurement OUTPUT.json, from which it goes on.
"""

import argparse
import json
import os
import platform
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

DIM, EACH, CHECKED = 128, 20, 100
NEAREST = ["recall_at_1", "r_precision", "map_at_r", "knn_accuracy"]
WAYS = {
    "all": "ours, all scores",
    "nearest": "ours, of the nearest",
    "nearest_2": "ours, of the nearest, 2 processes",
    "faiss": "bare FAISS",
    "peer": "peer, MAP@R",
}
MOST_GIB = 12  # of the peer: more would take the machine with it
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)


def draw(count: int) -> tuple[Any, Any]:
    """Return unit vectors (count,D) of overlapping classes, and their labels."""
    import numpy as np

    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(count) // EACH)
    centres = rng.standard_normal((count // EACH, DIM), np.float32)
    x = np.empty((count, DIM), np.float32)
    for start in range(0, count, 1 << 14):
        part = slice(start, start + (1 << 14))
        rows = centres[y[part]]
        rows += 1.5 * rng.standard_normal(rows.shape, np.float32)
        x[part] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return x, y


def brute_force(x: Any, y: Any, queries: Any) -> float:
    """Return the mean MAP@R of some samples among all others, by sorting float64 distances."""
    import numpy as np

    total = 0.0
    for query in queries:
        distances = np.concatenate(
            [np.square(x[i : i + 65536].astype(np.float64) - x[query]).sum(axis=1) for i in range(0, len(x), 65536)]
        )
        distances[query] = np.inf
        hits = y[np.argsort(distances, kind="stable")[: EACH - 1]] == y[query]
        total += float((hits * np.cumsum(hits) / np.arange(1, EACH)).sum()) / (EACH - 1)
    return total / len(queries)


def search(way: str, x: Any, y: Any, chosen: Any, group: Any = None) -> dict[str, float]:
    """Do one way's work on the samples `chosen`."""
    import faiss
    import numpy as np
    import torch

    from dml.evaluation import retrieval_scores

    if way == "faiss":
        faiss.knn(x[chosen], x, EACH)
        return {}
    if way == "peer":
        from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
        from pytorch_metric_learning.utils.inference import FaissKNN

        # the queries first among the references: the peer then leaves each out of its own search
        rest = np.setdiff1d(np.arange(len(x)), chosen)
        order = np.concatenate([chosen, rest])
        knn = FaissKNN(index_init_fn=faiss.IndexFlatL2)
        name = "mean_average_precision_at_r"
        calculator = AccuracyCalculator(include=(name,), k="max_bin_count", knn_func=knn, device=torch.device("cpu"))
        arrays = (torch.from_numpy(part) for part in (x[chosen], y[chosen], x[order], y[order]))
        return {"map_at_r": calculator.get_accuracy(*arrays, ref_includes_query=True)[name]}
    ids = np.arange(len(x))
    settings = {"max_memory": "2GiB", "scores": None if way == "all" else NEAREST, "group": group}
    if len(chosen) == len(x):
        return retrieval_scores(x, y, **settings)
    return retrieval_scores(x[chosen], y[chosen], x, y, query_ids=chosen, reference_ids=ids, **settings)


def work(way: str, count: int, queries: int, threads: int, rank: int, port: int) -> None:
    """Measure one way at one size in this process; print JSON."""
    import numpy as np
    import torch
    import torch.distributed as dist

    torch.set_num_threads(threads)
    if way == "peer":
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_GIB << 30, MOST_GIB << 30))
    group = None
    if way.endswith("_2"):
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
        group = dist.group.WORLD
    x, y = draw(count)
    chosen = np.arange(count) if not queries else np.linspace(0, count - 1, min(queries, count)).astype(np.int64)
    search(way, x[:2000], np.arange(2000) // EACH, np.arange(2000), group)  # libraries loaded, threads started
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of drawing
    start = time.perf_counter()
    scores = search(way, x, y, chosen, group)
    seconds, memory = time.perf_counter() - start, status("VmHWM") - before
    result = {"queries": len(chosen), "seconds": seconds, "memory": memory, "scores": scores}
    if way == "nearest":
        first = chosen[:CHECKED]
        result["gap"] = abs(search(way, x, y, first)["map_at_r"] - brute_force(x, y, first))
    if rank == 0:
        print(json.dumps(result))
    if group is not None:
        dist.destroy_process_group()


def status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 2**20


def run(way: str, count: int, queries: int, threads: int) -> dict[str, Any]:
    """Measure one way at one size in processes of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [way, str(count), str(queries), str(threads)]
    command = [sys.executable, __file__, "--worker", *words]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    ranks = range(2 if way.endswith("_2") else 1)
    started = [
        subprocess.Popen([*command, str(rank), str(port)], stdout=subprocess.PIPE, env=environment) for rank in ranks
    ]
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        if way == "peer":
            return {"failed": f"needs more than {MOST_GIB} GiB"}
        raise SystemExit(f"{WAYS[way]} at {count} samples failed")
    result: dict[str, Any] = json.loads(outputs[0])
    return result


def table(found: dict[int, dict[str, dict[str, Any]]]) -> str:
    lines = ["| N | queries | " + " | ".join(WAYS.values()) + " | gap to brute force |", "|---" * (len(WAYS) + 3) + "|"]
    for count, ways in found.items():
        cells = [
            each.get("failed") or f"{each['seconds']:.2f} s, {each['memory']:.2f} GiB"
            for each in (ways[way] for way in WAYS)
        ]
        lines.append(f"| {count} | {ways['faiss']['queries']} | {' | '.join(cells)} | {ways['nearest']['gap']:.0e} |")
    return "\n".join(lines)


def picture(found: dict[int, dict[str, dict[str, Any]]], path: Path) -> None:
    """Draw seconds per 1,000 queries and GiB beyond the inputs by the number of references."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for way, label in WAYS.items():
        done = {count: ways[way] for count, ways in found.items() if "failed" not in ways[way]}
        seconds = [1000 * each["seconds"] / each["queries"] for each in done.values()]
        left.loglog(list(done), seconds, "o-", label=label, markersize=4)
        right.loglog(list(done), [max(each["memory"], 1e-3) for each in done.values()], "o-", label=label, markersize=4)
    left.set(xlabel="references", ylabel="seconds per 1,000 queries")
    right.set(xlabel="references", ylabel="GiB beyond the embeddings")
    right.axhline(2, color="grey", linestyle=":", linewidth=1)
    right.text(min(found), 2.15, "2 GiB", color="grey", fontsize=8)
    left.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def report(found: dict[int, dict[str, dict[str, Any]]], options: argparse.Namespace) -> None:
    from importlib.metadata import version

    names = ("torch", "faiss-cpu", "pytorch-metric-learning")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    words = f"python benchmarks/scale.py --sizes {' '.join(map(str, options.sizes))} --queries {options.queries}"
    machine = f"{platform.machine()}, {os.cpu_count()} CPU cores, {options.threads} thread a process"
    text = f"""# Scores of many

`{words} --threads {options.threads}`
{date.today()}, {machine}; {versions}.

{DIM} numbers, {EACH} samples a class. Wall seconds of one run, and the peak of memory beyond what was held before (of
the first process where there are two).

{table(found)}
"""
    options.output.with_suffix(".md").write_text(text)
    picture(found, options.output.with_suffix(".png"))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--queries", type=int, default=10_000, help="0: all samples")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("scale"))
    options = parser.parse_args(arguments)
    kept = options.output.with_suffix(".json")
    known = json.loads(kept.read_text()) if kept.exists() else {}
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for count in options.sizes:
        found[count] = {}
        for way in WAYS:
            name = f"{way} {count} {options.queries} {options.threads}"
            if name not in known:
                known[name] = run(way, count, options.queries, options.threads)
                print(name, json.dumps(known[name]), flush=True)
                kept.write_text(json.dumps(known, indent=1))
            found[count][way] = known[name]
        scores = [found[count][way]["scores"] for way in ("all", "nearest", "nearest_2")]
        if any(scores[0][name] != each[name] for each in scores[1:] for name in NEAREST):
            raise SystemExit(f"scores differ at {count} samples")
        report(found, options)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        main()
