"""Which loss finds classes it never saw: ours beside four of pytorch-metric-learning, without pre-training.

    python benchmarks/unseen.py flowers --root FLOWERS/train
    python benchmarks/unseen.py omniglot --root OMNIGLOT

Flowers: trained on 6 species, the other 6 are searched among each other. Omniglot (a folder of alphabet folders): half
of the alphabets train, characters of the other half are searched. Every loss has the same encoder, batches, epochs and
number of trials: `dml sweep` draws the learning rate and one number of the loss, under a split of its own seed. The
best by MAP@R is then trained under each reported seed, which draws other classes and weights; these runs are compared
query by query. Raw pixels are searched too. Runs that are there are not run again.
"""

import argparse
import csv
import json
import statistics
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from dml import runs
from dml.cli import main as dml

PML = "pytorch_metric_learning.losses"
CHOOSING_SEED = 100  # draws classes that no reported seed draws alike
SHOWN = ("recall_at_1", "map_at_r")


class Loss(NamedTuple):
    """A loss: its class, the number that is drawn with its range, and what else is set."""

    path: str
    drawn: str
    fixed: tuple[str, ...] = ()


LOSSES = {
    "triplet": Loss(
        "dml.losses.TripletLoss", "margin=0.1:1.0", ("mining=all", "squared=false", "reduction=mean_nonzero")
    ),
    "proxy contrastive": Loss("dml.losses.ProxyContrastiveLoss", "temperature=0.05:0.5:log", ("label_smoothing=0.1",)),
    "peer, multi-similarity": Loss(f"{PML}.MultiSimilarityLoss", "base=0.2:0.8"),
    "peer, supervised contrastive": Loss(f"{PML}.SupConLoss", "temperature=0.05:0.5:log"),
    "peer, proxy anchor": Loss(f"{PML}.ProxyAnchorLoss", "alpha=8:64:log"),
    "peer, circle": Loss(f"{PML}.CircleLoss", "gamma=16:256:log"),
}
COMMON = (
    "--model.encoder=dml.encoders.ConvEncoder",
    "--model.encoder.embedding_dim=64",
    "--model.encoder.normalize=true",
    "--model.optimizer=torch.optim.AdamW",
    "--model.optimizer.weight_decay=0.05",
    "--model.lr_scheduler=dml.schedules.WarmupDecay",
    "--model.lr_scheduler.warmup=0.1",
    "--model.lr_scheduler.decay=cosine",
    "--model.lr_interval=step",
    "--evaluation.metric=cosine",
    "--checkpoint.monitor=none",
    "--pictures.projection=none",
    "--trainer.enable_progress_bar=false",
)
DATA = {
    "flowers": (
        "--data.image_size=64",
        "--data.split=dml.data.ClassDisjointSplit",
        "--data.split.val=6",
        "--data.split.test=0",
        "--data.batch_size=60",
        "--data.classes_per_batch=6",
        "--data.transform=dml.data.Augmentation",
        "--data.transform.resized_crop=0.35",
        "--data.transform.flip=0.5",
        "--data.transform.brightness=0.2",
        "--data.transform.contrast=0.2",
        "--data.transform.saturation=0.2",
        "--model.encoder.channels=[32,64,128,256]",
        "--model.encoder.dropout=0.1",
        "--model.encoder.first_stride=2",
    ),
    "omniglot": (
        "--data.source=dml.data.Omniglot",
        "--data.image_size=28",
        "--data.split=dml.data.GroupedSplit",
        "--data.split.val=0.5",
        "--data.split.test=0",
        "--data.mean=0.9238",
        "--data.std=0.2133",
        "--data.batch_size=128",
        "--data.classes_per_batch=32",
        "--data.transform=dml.data.Augmentation",
        "--data.transform.rotate=10",
        "--data.transform.translate=0.05",
        "--data.transform.shear=5",
        "--model.encoder.channels=[32,64,128]",
        "--evaluation.k=5",
    ),
}
EPOCHS = {"flowers": 60, "omniglot": 25}


def check(code: int) -> None:
    if code:
        raise SystemExit(code)


def recipe(data: str, root: str, loss: Loss) -> list[str]:
    """Return the words of a training."""
    source = f"--data.source.root={root}" if data == "omniglot" else f"--data.root={root}"
    own = [f"--model.loss.{each}" for each in loss.fixed]
    end = EPOCHS[data]
    often = [f"--trainer.max_epochs={end}", f"--trainer.check_val_every_n_epoch={end}"]
    return [*DATA[data], source, *COMMON, *often, f"--model.loss={loss.path}", *own]


def choose(data: str, root: str, name: str, trials: int, folder: Path) -> dict[str, float]:
    """Return the best learning rate and number of a loss, by `dml sweep`."""
    loss = LOSSES[name]
    study = f"sweep-{data}-{slug(name)}"
    keys = ("model.optimizer.lr", f"model.loss.{loss.drawn.partition('=')[0]}")
    over = ("--over", f"{keys[0]}=5e-4:1e-2:log", "--over", f"model.loss.{loss.drawn}")
    how = ("--search", "random", "--trials", str(trials), "--score", "val/map_at_r", "--seeds", str(CHOOSING_SEED))
    plain = ("--evaluation.baselines=false", "--name", study, "--runs_dir", str(folder))
    check(dml(["sweep", *over, *how, *recipe(data, root, loss), *plain]))
    with (folder / study / "sweep.csv").open(encoding="utf-8", newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["status"] == "done"]
    best = max(rows, key=lambda row: float(row["val/map_at_r"]))
    return {key: float(best[key]) for key in keys}


def slug(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "_")


def train(data: str, root: str, name: str, chosen: dict[str, float], seed: int, folder: Path) -> Path:
    """Train a loss under a seed; a run that has its scores is not trained again."""
    run = folder / f"{data}-{slug(name)}-{seed}"
    if not (run / runs.SCORES).exists():
        set_to = [f"--{key}={value}" for key, value in chosen.items()]
        where = ["--seed_everything", str(seed), "--name", run.name, "--runs_dir", str(folder)]
        check(dml(["fit", *recipe(data, root, LOSSES[name]), *set_to, *where]))
    return run


def compare(first: Path, second: Path) -> dict[str, Any]:
    """Return what `dml compare` says of two runs."""
    told = first.parent / f"{first.name}-{second.name}.json"
    check(dml(["compare", str(first), str(second), "--output", str(told)]))
    found: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))["scores"]
    return found


def cell(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}"


def report(
    data: str, found: dict[str, list[Path]], chosen: dict[str, dict[str, float]], seeds: list[int], about: str
) -> str:
    """Return the tables of scores, and of the leader beside each other loss."""
    scores = {name: [runs.read_json(run / runs.SCORES) for run in own] for name, own in found.items()}
    values = {name: {s: [each["val"][s] for each in own] for s in SHOWN} for name, own in scores.items()}
    first = next(iter(scores.values()))
    values["raw pixels"] = {s: [each["baselines"]["pixels"]["val"][s] for each in first] for s in SHOWN}
    lead = max(found, key=lambda name: statistics.mean(values[name]["map_at_r"]))
    lines = [f"## {data.capitalize()}", "", about, "", f"| loss | {' | '.join(SHOWN)} | chosen |", "|---|---|---|---|"]
    for name in sorted(values, key=lambda name: -statistics.mean(values[name]["map_at_r"])):
        drawn = ", ".join(f"{key.rpartition('.')[2]} {value:.3g}" for key, value in chosen.get(name, {}).items())
        lines.append(f"| {name} | {' | '.join(cell(values[name][s]) for s in SHOWN)} | {drawn} |")
    heads = " | ".join(f"seed {seed}" for seed in seeds)
    lines += ["", f"MAP@R of {lead} less that of another loss, query by query, with the interval of 95 %:", ""]
    lines += [f"| less | {heads} |", "|---" * (len(found[lead]) + 1) + "|"]
    for name, own in found.items():
        if name == lead:
            continue
        pairs = [compare(other, best)["map_at_r"] for best, other in zip(found[lead], own, strict=True)]
        cells = [f"{p['difference']:+.3f} [{p['interval'][0]:+.3f}, {p['interval'][1]:+.3f}]" for p in pairs]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Choose, train, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--root", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--trials", type=int, default=6, help="of each loss")
    parser.add_argument("--epochs", type=int, help=f"of every training ({EPOCHS})")
    parser.add_argument("--runs_dir", type=Path, default=Path("runs/unseen"))
    parser.add_argument("--write", type=Path, help="add the tables to this file")
    options = parser.parse_args()
    EPOCHS[options.data] = options.epochs or EPOCHS[options.data]
    chosen, found = {}, {}
    for name in LOSSES:
        chosen[name] = choose(options.data, options.root, name, options.trials, options.runs_dir)
        found[name] = [
            train(options.data, options.root, name, chosen[name], seed, options.runs_dir) for seed in options.seeds
        ]
    about = f"{date.today()}; seeds {', '.join(map(str, options.seeds))}; {options.trials} trials a loss, "
    about += f"{EPOCHS[options.data]} epochs each."
    text = report(options.data, found, chosen, options.seeds, about)
    print(text)
    if options.write:
        with options.write.open("a", encoding="utf-8") as file:
            file.write(f"\n{text}")


if __name__ == "__main__":
    main()
