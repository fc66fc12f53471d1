"""Part E of the reference experiments, E1 to E5, on MNIST: trained by `dml fit`, numbers from each run's scores.json.

    python benchmarks/autoencoders.py e1 --root datasets/mnist       then e2, e3, e4, e5

Runs that are there are not run again; e3 and e4 look at the runs of e1. Scores, pictures and the figures' numbers go to
benchmarks/results and notebooks/pictures.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from dml import runs
from dml.cli import main

HERE = Path(__file__).parent
CONFIGS = HERE.parent / "configs" / "mnist"
SCORES = HERE / "results" / "scores"
PICTURES = HERE.parent / "notebooks" / "pictures"
DIMS = [*range(5, 15), *range(50, 56), *range(100, 105)]  # E1's
BATCHES = 445  # of 128 in an epoch of 57,000 images


class Part:
    """What every part is told.

    Args:
        root: MNIST's folder, as torchvision has it.
        runs_dir: Where the runs go.
        seeds: One run each.
        epochs: Of every autoencoder.
    """

    def __init__(self, root: str, runs_dir: Path, seeds: list[int], epochs: int) -> None:
        self.root, self.runs_dir, self.seeds, self.epochs = root, runs_dir, seeds, epochs

    def autoencoder(self, name: str, recipe: str, *keys: str) -> Path:
        """Train a recipe and test it, unless the run is there; return its folder."""
        run = self.runs_dir / name
        if not (run / runs.CONFIG).exists():
            start, processor = time.perf_counter(), time.process_time()
            schedule = f"--model.lr_scheduler.total_steps={self.epochs * BATCHES}"
            length = [f"--trainer.max_epochs={self.epochs}", schedule]
            where = [f"--data.source.root={self.root}", f"--runs_dir={self.runs_dir}", f"--name={name}"]
            _dml("fit", "--config", str(CONFIGS / f"{recipe}.yaml"), *length, *where, *keys)
            seconds = {"wall": time.perf_counter() - start, "processor": time.process_time() - processor}
            runs.merge_scores(run / runs.SCORES, {"seconds": seconds})
        if "test" not in runs.read_json(run / runs.SCORES):
            _dml("test", "--run", name, "--runs_dir", str(self.runs_dir))
        return run


def _dml(*words: str) -> None:
    if code := main(list(words)):
        raise SystemExit(code)


def publish(run: Path, name: str, seed: int) -> None:
    """Put a run's scores beside the others of its row."""
    runs.write_json(SCORES / name / f"seed{seed}.json", runs.read_json(run / runs.SCORES))


def e1(part: Part) -> None:
    """Train one autoencoder for each latent dimension."""
    for d in DIMS:
        for seed in part.seeds:
            run = part.autoencoder(
                f"E1_d{d}_seed{seed}",
                "autoencoder_small",
                f"--model.encoder.embedding_dim={d}",
                f"--seed_everything={seed}",
            )
            publish(run, f"E1_d{d}", seed)


PARTS: dict[str, Callable[[Part], None]] = {"e1": e1}


def report() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--root", required=True, help="MNIST's folder, as torchvision has it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=3, help="of every autoencoder")
    parser.add_argument("--runs_dir", type=Path, default=Path("runs/autoencoders"))
    options = parser.parse_args()
    PARTS[options.part](Part(options.root, options.runs_dir, options.seeds, options.epochs))


if __name__ == "__main__":
    report()
