"""Part B of the reference experiments: softmax on pixels, the triplet encoder, two heads on it, beside the reference.

    python benchmarks/transfer.py --root CIFAR10_FOLDER_OR_ZIP            B1 to B4 as the recipes say (a GPU)
    python benchmarks/transfer.py --root ... --encoder_epochs 14          B2 cut short, for processors
    python benchmarks/transfer.py --speed                                 the embedding cache, as a ratio

Each row is trained by `dml fit` with its recipe in configs/cifar10; a run that is there is not trained again. One
encoder (seed 0) is learnt; the seeds of B3 and B4 are the heads' own, on the encoder's split. Scores are written to
benchmarks/results/scores.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer

from dml import runs
from dml.cli import main
from dml.data import ImageData, StratifiedSplit
from dml.encoders import AlexNetEncoder
from dml.heads import MLPHead
from dml.modules import ClassifierModule

CONFIGS = Path(__file__).parent.parent / "configs" / "cifar10"
SCORES = Path(__file__).parent / "results" / "scores"
BATCHES = 39  # of 1024 in 40,000 images
REFERENCE = {"B1": ".369", "B2": "", "B3": ".247", "B4": ".844"}


def fit(config: str, name: str, seed: int, options: argparse.Namespace, *keys: str) -> Path:
    """Train one run unless it is there, keep its scores, and return its folder."""
    run: Path = options.runs_dir / name
    if not (run / runs.SCORES).exists():
        words = ["fit", "--config", str(CONFIGS / f"{config}.yaml"), "--data.root", options.root]
        words += ["--runs_dir", str(options.runs_dir), "--name", name, "--seed_everything", str(seed), *keys]
        start = time.perf_counter(), time.process_time()
        if code := main(words):
            raise SystemExit(code)
        print(f"{name}: {time.perf_counter() - start[0]:.0f} s wall, {time.process_time() - start[1]:.0f} s processor")
    row, _, number = name.partition("-")
    runs.write_json(SCORES / row / f"seed{number}.json", runs.read_json(run / runs.SCORES))
    return run


def train_all(options: argparse.Namespace) -> None:
    """Run B1 to B4 and print their validation scores beside the reference."""
    table: dict[str, list[float]] = {}
    for seed in options.seeds:
        run = fit("softmax_pixels", f"B1-{seed}", seed, options)
        table.setdefault("B1", []).append(runs.read_json(run / runs.SCORES)["val"]["accuracy"])
    epochs, short = options.encoder_epochs, []
    if epochs is not None:
        short = [f"--trainer.max_epochs={epochs}", f"--trainer.check_val_every_n_epoch={epochs}"]
        short += [f"--model.lr_scheduler.total_steps={epochs * BATCHES}", "--model.encoder.dropout=0.1"]
    encoder = fit("triplet_alexnet", "B2-0", 0, options, *short)
    table["B2"] = [runs.read_json(encoder / runs.SCORES)["val"]["knn_accuracy"]]
    for row, config in (("B3", "linear_head"), ("B4", "mlp_head")):
        for seed in options.seeds:
            keys = (f"--model.encoder.run={encoder}", "--data.split.seed=0")
            run = fit(config, f"{row}-{seed}", seed, options, *keys)
            table.setdefault(row, []).append(runs.read_json(run / runs.SCORES)["val"]["accuracy"])
    for row, values in table.items():
        deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        print(f"{row}  {statistics.mean(values):.3f}{deviation}  reference {REFERENCE[row]}")


def measure_speed(epochs: int = 10) -> None:
    """Print how much faster a head is trained on a frozen encoder that is run once; both in this process, in turn."""
    images = torch.randint(0, 256, (2000, 32, 32, 3), dtype=torch.uint8).numpy()
    labels = torch.arange(2000).remainder(10).numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npz"
        np.savez(path, images=images, labels=labels)
        seconds = {cached: head_seconds(str(path), cached, epochs) for cached in (False, True, False, True)}
    ratio = {unit: seconds[False][unit] / seconds[True][unit] for unit in ("wall", "processor")}
    print(json.dumps({"epochs": epochs, "without": seconds[False], "with": seconds[True], "ratio": ratio}, indent=2))


def head_seconds(root: str, cached: bool, epochs: int) -> dict[str, float]:
    """Return the seconds of training an MLP head on AlexNet's 1000-d embeddings of 1,600 images, nothing on disk."""
    torch.manual_seed(0)
    data = ImageData(root=root, split=StratifiedSplit(val=400, test=0), batch_size=128, cache=False)
    module = ClassifierModule(AlexNetEncoder(1000), MLPHead(10), freeze_encoder=True, cache_embeddings=cached)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "num_sanity_val_steps": 0}
    trainer = Trainer(max_epochs=epochs, accelerator="cpu", enable_model_summary=False, limit_val_batches=0, **quiet)
    start = time.perf_counter(), time.process_time()
    trainer.fit(module, datamodule=data)
    return {"wall": time.perf_counter() - start[0], "processor": time.process_time() - start[1]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="CIFAR-10's training images: a folder of class folders, or a zip of it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--encoder_epochs", type=int, help="of B2, 39 iterations each (128, as its recipe says)")
    parser.add_argument("--runs_dir", type=Path, default=Path("runs/cifar10"))
    parser.add_argument("--speed", action="store_true", help="measure the embedding cache alone; needs no images")
    chosen = parser.parse_args()
    if chosen.speed:
        measure_speed()
    elif chosen.root is None:
        parser.error("--root is needed, or --speed")
    else:
        train_all(chosen)
