"""All that needs a GPU, within nine minutes, into benchmarks/results/gpu.md with date, card and versions.

    python benchmarks/gpu.py --root CIFAR10_FOLDER_OR_ZIP
    python benchmarks/gpu.py --root CIFAR10_FOLDER_OR_ZIP --scale 0.01 --output gpu.md    small, on any machine

The parts stand in the order of what they tell; each is written as soon as it ends, one that fails leaves its reason,
and one that the time no longer holds is named. Without a GPU everything runs on the CPU, at the scale that is given.
"""

import argparse
import dataclasses
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from evaluation import Shape, clock, draw
from input import measure as input_rates
from triplets import losses

from dml import runs
from dml.cli import main as dml
from dml.evaluation import retrieval_scores

HERE = Path(__file__).parent
CONFIGS = HERE.parent / "configs"
ITERATIONS = 2496  # B2's


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where and how large.

    Args:
        device: `cuda` where there is a GPU.
        devices: How many of them.
        scale: Of every size; 1 is the whole plan.
        root: CIFAR-10's images.
        folder: Where runs go.
        ends: The clock's time at which everything must have ended.
    """

    device: torch.device
    devices: int
    scale: float
    root: str
    folder: Path
    ends: float

    def sized(self, whole: int, least: int) -> int:
        """Return a size at the plan's scale."""
        return max(least, round(whole * self.scale))

    def fit(self, config: str, name: str, *keys: str) -> dict[str, Any]:
        """Train a recipe; return its scores beside what it cost."""
        left = max(1, int(self.ends - time.monotonic()))
        where = ["--data.root", self.root, "--runs_dir", str(self.folder), "--name", name]
        where += ["--trainer.accelerator", "gpu" if self.device.type == "cuda" else "cpu"]
        where += ["--trainer.max_time", f"00:00:{left // 60:02d}:{left % 60:02d}", "--pictures.projection", "none"]
        start = time.perf_counter()
        if code := dml(["fit", "--config", str(CONFIGS / config), *where, *keys]):
            raise RuntimeError(f"dml fit ended with exit code {code}")
        scores: dict[str, Any] = runs.read_json(self.folder / name / runs.SCORES)
        cost = runs.read_json(self.folder / name / runs.PROTOCOL).get("cost", {})
        return {"wall": time.perf_counter() - start, "cost": cost, **scores["val"]}


def equality(plan: Plan) -> list[str]:
    """Scores of the same embeddings on both devices: they must be equal to the last bit."""
    x, y = draw(Shape("", plan.sized(20_000, 400), 128, plan.sized(2_000, 40)), 2.0)
    here, there = (retrieval_scores(x, y, device=device) for device in ("cpu", plan.device.type))
    differ = [name for name in here if here[name] != there[name]]
    return [f"{len(x):,} × 128: {len(here)} scores, {', '.join(differ) or 'none'} differ between CPU and {plan.device}"]


def triplets(plan: Plan) -> list[str]:
    """Forward and backward over all triplets, of ten classes and of four images a class."""
    lines = ["| B | images a class | dml | memory | pytorch-metric-learning | memory |", "|---|---|---|---|---|---|"]
    for whole in (8_192, 16_384, 32_768, 65_536):
        size = plan.sized(whole, 40) // 40 * 40
        for per_class in (size // 10, 4):
            cells = [f"{size:,}", str(per_class)]
            for side in ("dml", "peer") if whole == 8_192 else ("dml",):
                cells += step_of_loss(plan, side, size, per_class)
            lines.append(f"| {' | '.join(cells + [''] * (6 - len(cells)))} |")
    return lines


def step_of_loss(plan: Plan, side: str, size: int, per_class: int) -> list[str]:
    """Return the least time of forward and backward, and the peak of memory on a GPU."""
    embeddings = torch.nn.functional.normalize(torch.randn(size, 128)).to(plan.device).requires_grad_()
    labels = (torch.randperm(size) // per_class).to(plan.device)
    loss, times = losses(side), []
    if plan.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    try:
        for _ in range(4):
            embeddings.grad = None
            synchronise(plan)
            start = time.perf_counter()
            loss(embeddings, labels).backward()
            synchronise(plan)
            times.append(time.perf_counter() - start)
    except RuntimeError as error:  # out of memory among them
        return [f"fails: {str(error).splitlines()[0][:50]}", ""]
    memory = f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB" if plan.device.type == "cuda" else ""
    return [f"{1e3 * min(times[1:]):.1f} ms", memory]


def synchronise(plan: Plan) -> None:
    if plan.device.type == "cuda":
        torch.cuda.synchronize()


def scoring(plan: Plan) -> list[str]:
    """Score an embedding of the size of Stanford Online Products' test part, leave-one-out."""
    x, y = draw(Shape("", plan.sized(60_502, 600), 512, plan.sized(11_318, 100)), 2.0)
    retrieval_scores(x[:200], y[:200], device=plan.device.type)  # warm
    seconds, _, scores = clock(lambda: retrieval_scores(x, y, device=plan.device.type))
    return [f"{len(x):,} × 512, {len(set(y.tolist())):,} classes: {seconds:.2f} s, MAP@R {scores['map_at_r']:.4f}"]


def throughput(plan: Plan) -> list[str]:
    """Images a second of the input, beside torchvision's."""
    rates = input_rates(plan.sized(10_000, 1_100), 2, plan.device, 2)
    return ["| | images/s |", "|---|---|", *(f"| {name} | {rate:,.0f} |" for name, rate in rates)]


def record(plan: Plan) -> list[str]:
    """CIFAR-10 by the recipe of the records: accuracy and seconds."""
    keys = () if plan.scale >= 1 else ("--trainer.max_steps", str(plan.sized(700, 5)), "--data.batch_size", "50")
    return [told(plan.fit("records/cifar10_knn.yaml", "record", *keys))]


def course_work(plan: Plan) -> list[str]:
    """B2 in full, then B3 and B4 on it."""
    steps = plan.sized(ITERATIONS, 5)
    keys = [f"--trainer.max_steps={steps}", "--trainer.max_epochs=1000"]  # the schedule takes its length from them
    keys += ["--evaluation.baselines=false", "--trainer.check_val_every_n_epoch=1000"]
    small = [] if plan.scale >= 1 else ["--data.batch_size=64"]
    lines = [f"B2, {steps} iterations: {told(plan.fit('cifar10/triplet_alexnet.yaml', 'B2', *keys, *small))}"]
    for head, config in (("B3", "linear_head"), ("B4", "mlp_head")):
        keys = [f"--model.encoder.run={plan.folder / 'B2'}", "--model.encoder.checkpoint=last", "--data.split.seed=0"]
        keys += [] if plan.scale >= 1 else ["--trainer.max_epochs=1"]
        lines.append(f"{head}: {told(plan.fit(f'cifar10/{config}.yaml', head, *keys, *small))}")
    return lines


def many_devices(plan: Plan) -> list[str]:
    """Take the same 200 steps on one device and on all, the batch shared out."""
    lines = []
    for devices in sorted({1, plan.devices}):
        steps = plan.sized(200, 3)
        keys = [f"--trainer.devices={devices}", "--trainer.strategy=ddp", f"--trainer.max_steps={steps}"]
        keys += ["--trainer.max_epochs=1000", "--evaluation.baselines=false", "--trainer.check_val_every_n_epoch=1000"]
        keys += [] if plan.scale >= 1 else ["--data.batch_size=64"]
        result = plan.fit("cifar10/triplet_alexnet.yaml", f"ddp{devices}", *keys)
        lines.append(f"{devices} device(s), {steps} steps: {told(result)}")
    return lines


def told(result: dict[str, Any]) -> str:
    """Say the accuracy, the whole clock and the training's."""
    score = next(name for name in ("knn_accuracy", "accuracy") if name in result)
    seconds = result["cost"].get("wall_seconds", float("nan"))
    return f"{score} {result[score]:.4f}; {result['wall']:.1f} s in all, of them training {seconds:.1f} s"


PARTS: dict[str, tuple[Callable[[Plan], list[str]], float]] = {  # and the seconds that each needs on an H200, at most
    "Equality of GPU and CPU scores": (equality, 20),
    "CIFAR-10, the recipe of the records": (record, 90),
    "All triplets": (triplets, 40),
    "Scoring at the size of Stanford Online Products": (scoring, 30),
    "B2 to B4": (course_work, 200),
    "Input": (throughput, 60),
    "Several devices": (many_devices, 60),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="CIFAR-10's training images: a folder, zip or .npz archive")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--scale", type=float, default=1, help="of every size (1)")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "gpu.md")
    options = parser.parse_args()
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    where = torch.cuda.get_device_name() if cuda else "no GPU: on the CPU"
    devices = torch.cuda.device_count() if cuda else 1
    names = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning", "pytorch-metric-learning"))
    lines = ["# What needs a GPU", "", "Written by `python benchmarks/gpu.py`.", ""]
    lines += [f"{datetime.now(UTC):%Y-%m-%d}; {devices} × {where}; Python {platform.python_version()}, {names};"]
    lines += [f"scale {options.scale:g}."]
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(device, devices, options.scale, options.root, Path(folder), begin + 60 * options.minutes)
        for title, (part, needs) in PARTS.items():
            start = time.monotonic()
            lines += ["", f"## {title}", ""]
            if plan.ends - start < needs * min(1, options.scale):
                lines.append(f"left out: {plan.ends - start:.0f} s were left, it needs {needs}")
            else:
                try:
                    lines += [*part(plan), "", f"({time.monotonic() - start:.0f} s)"]
                except Exception as error:  # the other parts are worth having
                    lines.append(f"failed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            options.output.parent.mkdir(parents=True, exist_ok=True)
            runs.write_bytes(options.output, ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))


if __name__ == "__main__":
    main()
