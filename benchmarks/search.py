"""Search structures side by side on clustered vectors: recall against the exact answer, ms per query, bytes, seconds.

    python benchmarks/search.py --count 100000 --output benchmarks/results/search.md

The vectors are drawn: 128 numbers, a thousand blobs of unequal size, spread on 32 directions of each blob, nearer to
embeddings than noise is. Queries are 500 of them, each searched without itself, asked together, one thread.
"""

import argparse
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import faiss
import numpy as np

from dml.neighbors.approximate import ApproximateIndex
from dml.search.structure import tune

FACTORIES = {
    100_000: ["IVF1024,Flat", "HNSW32", "PQ32", "RaBitQ", "IVF1024,PQ32", "IVF1024,RaBitQ", "OPQ32,IVF1024,PQ32"],
    1_000_000: ["IVF4096,Flat", "HNSW16", "PQ32", "RaBitQ", "IVF4096,PQ32", "IVF4096,RaBitQ"],
}
DIM, BLOCK = 128, 1 << 16


def draw(count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(1000, DIM)).astype(np.float32)
    sizes = generator.dirichlet(np.full(1000, 2.0))
    directions = generator.normal(size=(1000, 32, DIM)).astype(np.float32) / np.sqrt(DIM)
    blob = np.sort(generator.choice(1000, count, p=sizes))
    rows = np.empty((count, DIM), np.float32)
    for number in np.unique(blob):
        mine = np.flatnonzero(blob == number)
        rows[mine] = centres[number] + generator.normal(size=(len(mine), 32)).astype(np.float32) @ directions[number]
    return rows[generator.permutation(count)]


def measure(rows: np.ndarray, factory: str) -> tuple[list, float, float]:
    sample = rows[np.random.default_rng(0).choice(len(rows), min(len(rows), 100_000), replace=False)]
    began = time.perf_counter()
    index = ApproximateIndex(factory, DIM).train(sample)
    trained = time.perf_counter() - began
    for start in range(0, len(rows), BLOCK):
        index.add(rows[start : start + BLOCK])
    built = time.perf_counter() - began
    return tune(index, lambda start: iter([rows[start:]]), len(rows)), trained, built


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--factories", nargs="+", metavar="TEXT", help="of FAISS, instead of all of this size")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    rows = draw(options.count)
    lines = [f"## {options.count:,} vectors of {DIM}", ""]
    lines.append("| index | recall@10 | without refining | ms/query | bytes/vector | trained, s | built, s |")
    lines.append("|---|---|---|---|---|---|---|")
    for number, factory in enumerate(options.factories or FACTORIES[options.count]):
        measured, trained, built = measure(rows, factory)
        for row in measured[number > 0 :]:
            spent = f"{trained:.1f} | {built:.1f}" if not row.name.startswith("Flat") else "0 | 0"
            cells = f"{row.recall:.4f} | {row.unrefined:.4f} | {row.milliseconds:.3f} | {row.bytes:.1f}"
            lines.append(f"| {row.name} | {cells} | {spent} |")
            print(lines[-1], flush=True)
    lines += ["", f"FAISS {faiss.__version__}, {platform.machine()}, one thread, NumPy {np.__version__}.", ""]
    if options.output:
        before = options.output.read_text(encoding="utf-8") if options.output.exists() else ""
        options.output.write_text(before + "\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
