"""Part A of the reference experiments on your own copy of the flower images, over several seeds, beside the reference.

    python benchmarks/flowers.py --root FLOWERS/train --seeds 0 1 2

Each row is trained by `dml fit` with its recipe in configs/flowers; the numbers are read from its scores.json.
"""

import argparse
import statistics
import time
from datetime import date
from pathlib import Path

from dml import runs
from dml.cli import main

# name of the recipe -> the experiment, the reference's validation accuracy (on other images)
EXPERIMENTS = {
    "pixels_knn": ("A1 k-NN on pixels", ".520"),
    "pull_linear": ("A2 linear projection, pull only", ".187"),
    "contrastive_linear": ("A3 linear projection, contrastive", ".533"),
    "triplet_mlp": ("A4 MLP, triplet", ".750"),
    "triplet_mlp_augmented": ("the same MLP, augmented", ""),
    "triplet_conv": ("conv encoder, augmented", ""),
}
CONFIGS = Path(__file__).parent.parent / "configs" / "flowers"


def run_once(name: str, root: str, seed: int, runs_dir: Path) -> tuple[float, float, float]:
    """Return validation accuracy, training error and seconds of one run; a run that is there is not run again."""
    folder = runs_dir / f"{name}-{seed}"
    start = time.perf_counter()
    verb = "validate" if name == "pixels_knn" else "fit"
    keys = ["--config", str(CONFIGS / f"{name}.yaml"), "--data.root", root, "--seed_everything", str(seed)]
    if not (folder / runs.SCORES).exists():
        where = ["--output", str(folder / runs.SCORES)] if verb == "validate" else ["--name", folder.name]
        code = main([verb, *keys, *where, "--runs_dir", str(runs_dir)])
        if code:
            raise SystemExit(code)
    scores = runs.read_json(folder / runs.SCORES)
    return scores["val"]["knn_accuracy"], 1 - scores["train"]["knn_accuracy"], time.perf_counter() - start


def spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}"


def report() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder of class folders, 12 flower species, 60 images each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS))
    parser.add_argument("--runs_dir", type=Path, default=Path("runs/flowers"))
    options = parser.parse_args()
    lines = [
        f"{date.today()}, seeds {options.seeds}; split by seed: 600 training and 120 validation images",
        "",
        "| experiment | val accuracy | train error | seconds a run | reference val accuracy |",
        "|---|---|---|---|---|",
    ]
    for name in options.only:
        results = [run_once(name, options.root, seed, options.runs_dir) for seed in options.seeds]
        accuracy, error, seconds = (list(column) for column in zip(*results, strict=True))
        title, reference = EXPERIMENTS[name]
        row = (title, spread(accuracy), spread(error), f"{statistics.mean(seconds):.0f}", reference)
        lines.append(f"| {' | '.join(row)} |")
    print("\n".join(lines))


if __name__ == "__main__":
    report()
