"""Part A of the reference experiments on your own copy of the flower images, over several seeds, beside the reference.

    python benchmarks/flowers.py --root FLOWERS/train --seeds 0 1 2
    python benchmarks/flowers.py --root FLOWERS/train --seeds 0 1 2 --margins      (A5: A4 at 15 margins)

Each row is trained by `dml fit` with its recipe in configs/flowers; the numbers are read from its scores.json and kept
below benchmarks/results, with the curves of training.
"""

import argparse
import csv
import io
import json
import shutil
import statistics
import time
from datetime import date
from pathlib import Path

import torch
from PIL import Image

from dml import reports, runs
from dml.callbacks.baselines import embed
from dml.cli import main
from dml.cli.trainer import TrainerCLI
from dml.data import ImageData, StratifiedSplit
from dml.encoders import FlattenEncoder, pretrained_encoder
from dml.neighbors import KNNClassifier
from dml.reports.events import read_curves
from dml.studies.figures import image_sheet

# name of the recipe -> the row, the experiment, the reference's validation accuracy (on other images)
EXPERIMENTS = {
    "pixels_knn": ("A1", "k-NN on pixels", ".520"),
    "pull_linear": ("A2", "linear projection, pull only", ".187"),
    "contrastive_linear": ("A3", "linear projection, contrastive", ".533"),
    "triplet_mlp": ("A4", "MLP, triplet", ".750"),
    "triplet_mlp_augmented": ("A4_augmented", "a wider MLP, augmented", ""),
    "triplet_conv": ("A4_conv", "conv encoder, augmented", ""),
}
CONFIGS = Path(__file__).parent.parent / "configs" / "flowers"
RESULTS = Path(__file__).parent / "results"
CURVES = ("train/loss", "val/loss", "val/knn_accuracy", "train/knn_accuracy", "val/spread")


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
    keep(folder, EXPERIMENTS[name][0], seed, error_counting_itself(name, keys, folder))
    scores = runs.read_json(folder / runs.SCORES)
    return scores["val"]["knn_accuracy"], 1 - scores["train"]["knn_accuracy"], time.perf_counter() - start


def error_counting_itself(name: str, keys: list[str], folder: Path) -> float:
    """Return the training error where each photograph is among its own neighbours, as the reference counts it."""
    cli = TrainerCLI(keys, None)
    data = cli.datamodule
    data.setup("fit")
    encoder = FlattenEncoder() if name == "pixels_knn" else pretrained_encoder(str(folder))
    train = embed(encoder, data.ordered_dataloader(data.parts.train), torch.device("cpu"))
    voters = KNNClassifier(k=cli.evaluation.k).fit(train.embeddings, train.labels)
    return 1 - float(voters.score(train.embeddings, train.labels))


def keep(folder: Path, row: str, seed: int, counting_itself: float | None = None) -> None:
    """Keep a run's scores, its curves, and of the first seed the histogram of weights, below benchmarks/results."""
    scores = runs.read_json(folder / runs.SCORES)
    scores = {section: scores[section] for section in ("val", "train", "baselines") if section in scores}
    for section in ("val", "train"):
        scores[section]["error"] = 1 - scores[section]["knn_accuracy"]
    if counting_itself is not None:
        scores["train"]["error_counting_itself"] = counting_itself
    if (folder / runs.PROTOCOL).exists():
        cost = runs.read_json(folder / runs.PROTOCOL).get("cost", {})
        scores["cost"] = {name: value for name, value in cost.items() if name.endswith("seconds")}
    runs.write_json(RESULTS / "scores" / row / f"seed{seed}.json", scores)
    curves = {name: curve for name, curve in read_curves(folder).items() if name in CURVES}
    if curves:
        short = {name: [steps, [float(f"{value:.6g}") for value in values]] for name, (steps, values) in curves.items()}
        runs.write_bytes(RESULTS / "curves" / row / f"seed{seed}.json", f"{json.dumps(short)}\n".encode())
    if seed == 0 and (picture := folder / runs.PICTURES / "weights.png").exists():
        (RESULTS / "pictures").mkdir(exist_ok=True)
        shutil.copy(picture, RESULTS / "pictures" / f"{row}_weights.png")


def draw_sheet(root: str) -> None:
    """Draw five photographs of each species."""
    data = ImageData(root=root, image_size=64, split=StratifiedSplit(val=120, test=0))
    data.setup("fit")
    pixels = data.thumbnails(data.parts.train)
    assert pixels is not None
    labels = data.catalog.labels[data.parts.train]
    figure = image_sheet(pixels.permute(0, 2, 3, 1).numpy(), labels, data.class_names, per_class=5)
    drawn = Image.open(io.BytesIO(reports.png(figure))).convert("RGB")
    drawn.save(RESULTS / "pictures" / "A_sheet.jpg", quality=85)  # a sixth of a PNG's bytes


def sweep_margins(root: str, seeds: list[int], runs_dir: Path) -> None:
    """A5: A4 at 15 margins by `dml sweep`, which goes on where it was stopped; validated once, after the last epoch."""
    keys = [
        "--config",
        str(CONFIGS / "triplet_mlp.yaml"),
        "--data.root",
        root,
        "--over",
        "model.loss.margin=0.1:2.0:15",
    ]
    keys += ["--seeds", ",".join(map(str, seeds)), "--score", "val/knn_accuracy", "--name", "A5"]
    quick = ["--trainer.check_val_every_n_epoch", "100", "--pictures.projection", "none"]
    code = main(["sweep", *keys, *quick, "--runs_dir", str(runs_dir)])
    if code:
        raise SystemExit(code)
    keep_sweep(runs_dir / "A5")


def keep_sweep(folder: Path) -> None:
    """Keep the table of a sweep over margins, and the scores of its best margin (the mean over all seeds)."""
    runs.write_bytes(RESULTS / "sweeps" / "A5.csv", (folder / "sweep.csv").read_bytes())
    margins: dict[str, list[dict[str, str]]] = {}
    for trial in csv.DictReader(io.StringIO((folder / "sweep.csv").read_text(encoding="utf-8"))):
        margins.setdefault(trial["model.loss.margin"], []).append(trial)
    most = max(map(len, margins.values()))
    whole = {m: trials for m, trials in margins.items() if len(trials) == most}
    best = max(whole, key=lambda m: statistics.mean(float(trial["val/knn_accuracy"]) for trial in whole[m]))
    for trial in whole[best]:
        keep(folder / trial["run"], "A5", int(trial["seed"]))
    print(f"best margin {best} over {most} seeds")


def spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}"


def report() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder of class folders, 12 flower species, 60 images each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS))
    parser.add_argument("--runs_dir", type=Path, default=Path("runs/flowers"))
    parser.add_argument("--sheet", action="store_true", help="draw photographs of each class instead")
    parser.add_argument("--margins", action="store_true", help="sweep A4's margin instead")
    options = parser.parse_args()
    if options.sheet:
        draw_sheet(options.root)
        return
    if options.margins:
        sweep_margins(options.root, options.seeds, options.runs_dir)
        return
    lines = [
        f"{date.today()}, seeds {options.seeds}; split by seed: 600 training and 120 validation images",
        "",
        "| experiment | val accuracy | train error | seconds a run | reference val accuracy |",
        "|---|---|---|---|---|",
    ]
    for name in options.only:
        results = [run_once(name, options.root, seed, options.runs_dir) for seed in options.seeds]
        accuracy, error, seconds = (list(column) for column in zip(*results, strict=True))
        number, title, reference = EXPERIMENTS[name]
        row = (f"{number} {title}", spread(accuracy), spread(error), f"{statistics.mean(seconds):.0f}", reference)
        lines.append(f"| {' | '.join(row)} |")
    print("\n".join(lines))


if __name__ == "__main__":
    report()
