"""Trains with several processes on the CPU (gloo) and compares them with one; `python tests/processes.py`: the table.

The loss of every step for 1, 2 and 3 processes; a run resumed by 2, 1 and 3 of them in turn; one resumed by as many as
before; `torchrun`; a rank that is killed, and one that gets SIGTERM.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

RECIPE = """
seed_everything: 0
trainer: {max_epochs: 3, log_every_n_steps: 1, enable_progress_bar: false, accelerator: cpu, sync_batchnorm: true}
model:
  class_path: dml.modules.EmbeddingModule
  init_args:
    encoder: {class_path: dml.encoders.MLPEncoder, init_args: {embedding_dim: 16, hidden_sizes: [32], batch_norm: true}}
    loss: {class_path: dml.losses.TripletLoss, init_args: {margin: 0.5}}
    optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.02}}
data:
  split: {class_path: dml.data.StratifiedSplit, init_args: {val: 0.2, test: 0}}
  batch_size: 120
  classes_per_batch: 10
  transform: {class_path: dml.data.Augmentation, init_args: {crop_padding: 1}}
evaluation: {baselines: false}
pictures: {projection: none, gallery_queries: 1, gallery_neighbors: 1}
"""
ADAM = ["--model.optimizer", "torch.optim.Adam", "--model.optimizer.lr", "0.003"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def words(name: str, processes: int, *keys: str) -> list[str]:
    """Return the words after `python -m dml`."""
    return ["fit", "--config", "recipe.yaml", "--name", name, "--trainer.devices", str(processes), *keys]


def fit(name: str, processes: int, *keys: str) -> None:
    """Train to the end."""
    command = [sys.executable, "-m", "dml", *words(name, processes, *keys)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=ENVIRONMENT, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def trace(name: str) -> dict[int, float]:
    """Return the loss of every step."""
    losses = {}
    for file in sorted(Path("runs", name).glob("events.*")):
        events = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
        if "train/loss" in events.Tags()["scalars"]:
            losses |= {point.step: point.value for point in events.Scalars("train/loss")}
    return losses


def weights(name: str) -> dict[str, torch.Tensor]:
    """Return the last weights."""
    held = torch.load(Path("runs", name, "checkpoints", "last.ckpt"), weights_only=True)
    found: dict[str, torch.Tensor] = held["state_dict"]
    return found


def furthest(one: str, other: str) -> float:
    """Return the largest difference between the losses of two runs that took the same steps."""
    a, b = trace(one), trace(other)
    if not a or a.keys() != b.keys():
        raise RuntimeError(f"{one} took {len(a)} steps and {other} {len(b)}")
    return max(abs(a[step] - b[step]) for step in a)


def ended(name: str, processes: int, rank: int, number: signal.Signals) -> str:
    """Send a rank a signal while it trains; tell how the training ended."""
    command = [sys.executable, "-m", "dml", *words(name, processes, "--trainer.max_epochs", "500")]
    with Path(f"{name}.log").open("w") as log:
        first = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT, start_new_session=True)
        while not Path("runs", name, "checkpoints", "last.ckpt").exists():
            time.sleep(0.2)
        others = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
        began = time.monotonic()
        os.kill([first.pid, *map(int, others)][rank], number)
        code = first.wait(timeout=600)
        while any(Path(f"/proc/{each}").exists() for each in others) and time.monotonic() - began < 600:
            time.sleep(0.1)
        seconds = time.monotonic() - began
    left = sum(Path(f"/proc/{each}").exists() for each in others)
    told = [line for line in Path(f"{name}.log").read_text().splitlines() if line.startswith(("dml:", "stopped;"))]
    return f"exit code {code}, all gone after {seconds:.1f} s, {left} orphans, told: {' | '.join(told)}"


def table() -> None:
    """Print what every kind of training by several processes comes to."""
    fit("one", 1)
    for processes in (2, 3):
        fit(f"sgd-{processes}", processes)
        print(
            f"{processes} x {120 // processes} against 1 x 120 images, SGD: {furthest('one', f'sgd-{processes}'):.1e}"
        )
    fit("one-adam", 1, *ADAM)
    fit("adam", 2, *ADAM)
    print(f"2 x 60 against 1 x 120 images, Adam: {furthest('one-adam', 'adam'):.1e}", flush=True)
    for epochs, processes in ((1, 2), (2, 1), (3, 3)):
        resumed = () if epochs == 1 else ("--ckpt_path", "last")
        fit("chain", processes, "--trainer.max_epochs", str(epochs), *resumed)
    print(f"resumed by 2, 1, 3 processes against 1: {furthest('one', 'chain'):.1e}", flush=True)
    dropout = ("--model.encoder.dropout", "0.2")
    fit("whole", 2, *dropout)
    fit("halves", 2, *dropout, "--trainer.max_epochs", "1")
    fit("halves", 2, *dropout, "--ckpt_path", "last")
    a, b = weights("whole"), weights("halves")
    same = all(torch.equal(a[name], b[name]) for name in a)
    print(f"resumed by 2 of 2, with dropout: {furthest('whole', 'halves'):.1e}, weights equal: {same}", flush=True)
    command = [str(Path(sys.executable).with_name("torchrun")), "--nproc_per_node", "2", "-m", "dml"]
    subprocess.run([*command, *words("torchrun", 2)], capture_output=True, timeout=1200, env=ENVIRONMENT, check=True)
    print(f"torchrun against Lightning's own processes: {furthest('sgd-2', 'torchrun'):.1e}", flush=True)
    for number in (signal.SIGKILL, signal.SIGTERM):
        for rank in (0, 1, 2):
            print(f"{number.name} to rank {rank} of 3: {ended(f'{number.name}-{rank}', 3, rank, number)}", flush=True)


def short() -> None:
    """Compare two processes with one, and kill one of two."""
    fit("one", 1, "--trainer.max_epochs", "1")
    fit("two", 2, "--trainer.max_epochs", "1")
    print(f"{furthest('one', 'two'):.1e}")
    print(ended("killed", 2, 1, signal.SIGKILL))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("recipe.yaml").write_text(RECIPE)
        short() if options.short else table()
