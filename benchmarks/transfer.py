"""Part B of the reference experiments: softmax on pixels, the triplet encoders, heads on them, beside the reference.

    python benchmarks/transfer.py pixels --root CIFAR10_FOLDER_OR_ZIP     B1: as stated, better, and what keys change
    python benchmarks/transfer.py encoders --root ...                     B2: as stated, and better (a GPU, or hours)
    python benchmarks/transfer.py heads --root ...                        B3 and B4 on each, frozen; and fine-tuned
    python benchmarks/transfer.py speed                                   the embedding cache, as a ratio

Each row is trained by `dml fit` with its recipe in configs/cifar10; a run that is there is not trained again. One
encoder (seed 0) is learnt of each recipe; the seeds of the heads are their own, on the encoders' split. Scores, curves
and pictures are kept below benchmarks/results.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer

from dml import runs
from dml.callbacks.baselines import embed
from dml.cli import main
from dml.cli.trainer import TrainerCLI
from dml.data import ImageData, StratifiedSplit
from dml.encoders import AlexNetEncoder, pretrained_encoder
from dml.evaluation.projection import project
from dml.heads import MLPHead
from dml.modules import ClassifierModule
from dml.reports import embedding_map, png
from dml.reports.events import read_curves

CONFIGS = Path(__file__).parent.parent / "configs" / "cifar10"
RESULTS = Path(__file__).parent / "results"
LOST = 4  # the exit code of a fit whose embedding collapsed
ENCODERS = {"B2_stated": "triplet_alexnet_squared", "B2": "triplet_alexnet", "B2_conv": "triplet_conv"}
HEADS = {"B3": "linear_head", "B4": "mlp_head", "B_tuned": "fine_tuned"}
# what each setting of B1 changes, the others as stated
CHANGES = {
    "batch": "data.batch_size=64,256,1024,4096",
    "clip": "trainer.gradient_clip_val=null,4,1,0.1",
    "l2": "model.optimizer.weight_decay=0,0.001,0.01,0.1",
    "stop": "trainer.max_steps=100,300,1170,3900",
    "step_size": "model.lr_scheduler.step_size=100,300,1170",
}
CURVES = ("train/loss", "val/loss", "train/accuracy", "val/accuracy", "train/active_tuples", "train/spread")


def fit(config: str, row: str, seed: int, options: argparse.Namespace, *keys: str) -> dict[str, dict[str, float]]:
    """Train one run unless it is there, keep its scores and curves, and return its scores."""
    run: Path = options.runs_dir / f"{row}-{seed}"
    if not (run / runs.SCORES).exists():
        words = ["fit", "--config", str(CONFIGS / f"{config}.yaml"), "--data.root", options.root]
        words += ["--runs_dir", str(options.runs_dir), "--name", run.name, "--seed_everything", str(seed), *keys]
        words += ["--ckpt_path", "last"] if (run / runs.CONFIG).exists() else []
        code = main(words)
        if code == LOST:  # the embedding collapsed: score what the last step left
            code = score_last(run, options)
        if code:
            raise SystemExit(code)
    keep(run, row, seed)
    scores: dict[str, dict[str, float]] = runs.read_json(run / runs.SCORES)
    return scores


def score_last(run: Path, options: argparse.Namespace) -> int:
    """Score the last weights of a run that ended as lost, and draw the map of its embedding; return the exit code."""
    where = ["--data.root", options.root, "--ckpt_path", "last", "--output", str(run / runs.SCORES)]
    if code := main(["evaluate", "--run", run.name, "--runs_dir", str(options.runs_dir), *where]):
        return code
    data = TrainerCLI(["--config", str(run / runs.CONFIG), "--data.root", options.root], None).datamodule
    data.setup("fit")
    encoder = pretrained_encoder(str(run), checkpoint="last").eval()
    shown = embed(encoder, data.ordered_dataloader(data.parts.val), torch.device("cpu")).spread_evenly(2000)
    flat, how = project(shown.embeddings, "tsne")
    figure = embedding_map(flat, shown.labels, data.class_names, f"{len(flat)} held-back images ({how})")
    (run / runs.PICTURES).mkdir(exist_ok=True)
    runs.write_bytes(run / runs.PICTURES / "tsne.png", png(figure))
    return 0


def keep(run: Path, row: str, seed: int) -> None:
    """Keep a run's scores and cost, those of its classes, its curves and the map of its embedding."""
    cost = runs.read_json(run / runs.PROTOCOL).get("cost", {})
    seconds = {name: value for name, value in cost.items() if name.endswith("seconds")}
    curves = {
        name: [steps, [float(f"{value:.5g}") for value in values]]
        for name, (steps, values) in read_curves(run).items()
        if name in CURVES
    }
    runs.write_bytes(RESULTS / "curves" / row / f"seed{seed}.json", f"{json.dumps(curves)}\n".encode())
    scores = runs.read_json(run / runs.SCORES) | {"cost": seconds}
    if "train/accuracy" in curves:  # the last epoch's mean, with dropout and augmentation where there are any
        scores = {"train": {"accuracy": curves["train/accuracy"][1][-1]}} | scores
    runs.write_json(RESULTS / "scores" / row / f"seed{seed}.json", scores)
    if seed == 0 and (classes := runs.classes_path(run, "val")).exists():
        runs.write_bytes(RESULTS / "classes" / f"{row}.json", classes.read_bytes())
    if seed == 0 and (picture := run / runs.PICTURES / "tsne.png").exists():
        shutil.copy(picture, RESULTS / "pictures" / f"{row}_tsne.png")


def train_pixels(options: argparse.Namespace) -> None:
    """B1 as the reference states it, the better recipe, and one sweep a setting under the first seed."""
    for row, config in (("B1_stated", "softmax_pixels_stated"), ("B1", "softmax_pixels")):
        accuracies = [fit(config, row, seed, options)["val"]["accuracy"] for seed in options.seeds]
        tell(row, accuracies, ".369")
    for name, over in CHANGES.items():
        words = ["sweep", "--config", str(CONFIGS / "softmax_pixels_stated.yaml"), "--data.root", options.root]
        words += ["--over", over, "--score", "val/accuracy", "--name", f"B1_{name}"]
        if code := main([*words, "--runs_dir", str(options.runs_dir)]):
            raise SystemExit(code)
        table = (options.runs_dir / f"B1_{name}" / "sweep.csv").read_bytes()
        runs.write_bytes(RESULTS / "sweeps" / f"B1_{name}.csv", table)


def train_encoders(options: argparse.Namespace) -> None:
    """B2 by every recipe, or those of `--rows`; a run that was interrupted goes on."""
    for row, config in ENCODERS.items():
        if options.rows and row not in options.rows:
            continue
        tell(row, [fit(config, row, 0, options)["val"]["knn_accuracy"]], "a picture")


def train_heads(options: argparse.Namespace) -> None:
    """B3, B4 and a fine-tuned encoder, on each of the encoders that are there."""
    for encoder in options.rows or ENCODERS:
        run = options.runs_dir / f"{encoder}-0"
        if not (run / runs.SCORES).exists():
            print(f"{run} is not there: no heads on it")
            continue
        for row, config in HEADS.items():
            if row == "B_tuned" and encoder != "B2":
                continue
            name = row + encoder.removeprefix("B2")
            keys = (f"--model.encoder.run={run}", "--model.encoder.checkpoint=last", "--data.split.seed=0")
            accuracies = [fit(config, name, seed, options, *keys)["val"]["accuracy"] for seed in options.seeds]
            tell(name, accuracies, {"B3": ".247", "B4": ".844"}.get(row, ""))


def tell(row: str, values: list[float], reference: str) -> None:
    """Print a row beside the reference."""
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    print(f"{row}  {statistics.mean(values):.3f}{deviation}  reference {reference}", flush=True)


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


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "pixels": train_pixels,
    "encoders": train_encoders,
    "heads": train_heads,
    "speed": lambda _: measure_speed(),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--root", help="CIFAR-10's training images: a folder of class folders, or a zip of it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices=list(ENCODERS), help="which encoders; all unless given")
    parser.add_argument("--runs_dir", type=Path, default=Path("runs/cifar10"))
    chosen = parser.parse_args()
    if chosen.root is None and chosen.part != "speed":
        parser.error("--root is needed")
    PARTS[chosen.part](chosen)
