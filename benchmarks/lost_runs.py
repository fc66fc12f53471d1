"""Which trainings are ended as lost: 20 seeds of the default recipe, which are not, and runs that are.

`python benchmarks/lost_runs.py` prints both tables (some 8 minutes of one core).
"""

import contextlib
import io
import os
import tempfile
from pathlib import Path

import torch

from dml import runs
from dml.cli import main

PULL = ["--model.loss", "dml.losses.PullLoss"]
HARD = ["--model.loss.mining", "hard", "--model.loss.squared", "true"]
LOST = {
    "lr 1e3": ["--model.optimizer.lr", "1e3"],
    "lr 10": ["--model.optimizer.lr", "10"],
    "lr 1": ["--model.optimizer.lr", "1"],
    "SGD, lr 1e30": ["--model.optimizer", "torch.optim.SGD", "--model.optimizer.lr", "1e30"],
    "hard mining of squared distances, lr 0.1": [*HARD, "--model.optimizer.lr", "0.1"],
    "pull loss alone (asked for)": [*PULL, "--trainer.max_epochs", "10"],
}


def fit(name: str, keys: list[str]) -> tuple[int, str, float]:
    """Train; return the exit code, what was told, and MAP@R (NaN where there are no scores)."""
    told = io.StringIO()
    quiet = ["--pictures.projection", "none", "--trainer.enable_progress_bar", "false"]
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        code = main(["fit", "--name", name, *quiet, *keys])
    scores = Path("runs", name, "scores.json")
    found = runs.read_scores(scores)["val"]["map_at_r"] if scores.exists() else float("nan")
    lines = [line for line in told.getvalue().splitlines() if "dml:" in line or "collapses" in line]
    return code, lines[-1].removeprefix("dml: ") if lines else "", found


def run() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    print("| default recipe, seed | exit code | told | MAP@R |\n|---|---|---|---|")
    for seed in range(20):
        code, told, score = fit(f"seed-{seed}", ["--seed_everything", str(seed)])
        print(f"| {seed} | {code} | {told} | {score:.3f} |", flush=True)
    print("\n| run | exit code | told | MAP@R |\n|---|---|---|---|")
    for i, (name, keys) in enumerate(LOST.items()):
        code, told, score = fit(f"lost-{i}", keys)
        print(f"| {name} | {code} | {told} | {score:.3f} |", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run()
