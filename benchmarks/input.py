"""Images per second of dml's input beside torchvision's ImageFolder, DataLoader and PIL transforms, in one run.

Both sides read the same JPEG files of CIFAR-10's size, crop with 4 pixels of padding, mirror, jitter colours
(brightness, contrast, saturation) and normalise. The peer decodes again every epoch, as it must, in two worker
processes; dml decodes once. What decoding once costs is given, and so is dml's own large path, which decodes every
epoch as well.
Usage: python benchmarks/input.py [--images 10000] [--epochs 3] [--device cpu] [--write FILE]
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from dml.data import Augmentation, ImageData, StratifiedSplit

BATCH, SIDE, CLASSES = 512, 32, 10


def write_images(root: Path, count: int) -> None:
    """Write smooth random JPEG files in class folders; their content does not matter to either side."""
    rng = np.random.default_rng(0)
    for i in range(count):
        folder = root / f"class{i % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{i:06d}.jpg", quality=75)


def peer_loader(root: Path, workers: int, pin: bool) -> Any:
    steps = [
        transforms.RandomCrop(SIDE, padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.2, 0.2, 0.2),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.5] * 3),
    ]
    dataset = ImageFolder(str(root), transforms.Compose(steps))
    return DataLoader(
        dataset, BATCH, shuffle=True, num_workers=workers, pin_memory=pin, persistent_workers=True, drop_last=True
    )


def own_data(root: Path, cache: Path, device: torch.device, memory: bool, workers: int) -> ImageData:
    data = ImageData(
        root=str(root),
        image_size=SIDE,
        split=StratifiedSplit(val=0, test=0),
        batch_size=BATCH,
        drop_last=True,
        transform=Augmentation(crop_padding=4, flip=0.5, brightness=0.2, contrast=0.2, saturation=0.2),
        memory_limit=4.0 if memory else 0.0,
        workers=workers,
        cache_dir=str(cache),
    )
    data.setup()
    data.move(device)
    return data


def epochs(loader: Any, device: torch.device, count: int) -> Iterator[float]:
    """Yield images per second of each epoch after a first one that warms up."""
    for epoch in range(count + 1):
        if hasattr(loader.sampler, "set_epoch"):
            loader.sampler.set_epoch(epoch)
        start, images = time.perf_counter(), 0
        for batch in loader:
            shown: Tensor = batch[0].to(device, non_blocking=True)
            images += len(shown)
        if device.type == "cuda":
            torch.cuda.synchronize()
        if epoch:
            yield images / (time.perf_counter() - start)


def step_rate(device: torch.device, count: int = 40) -> float:
    """Images per second of training steps alone: the MLP encoder and the triplet loss on one batch that stays."""
    from dml.encoders import MLPEncoder
    from dml.losses import TripletLoss

    images = torch.rand(BATCH, 3, SIDE, SIDE, device=device)
    labels = torch.arange(BATCH, device=device) % CLASSES
    encoder = MLPEncoder(embedding_dim=64).to(device)
    encoder(images)
    optimizer, loss = torch.optim.SGD(encoder.parameters(), lr=0.01), TripletLoss(0.7)
    for step in range(count + 3):
        if step == 3:
            start = time.perf_counter()
        optimizer.zero_grad()
        loss(encoder(images), labels).backward()
        optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return count * BATCH / (time.perf_counter() - start)


def measure(images: int, repeats: int, device: torch.device, workers: int) -> list[tuple[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "images", Path(folder) / "cache"
        write_images(root, images)
        start = time.perf_counter()
        held = own_data(root, cache, device, True, workers)
        once = images / (time.perf_counter() - start)
        start = time.perf_counter()
        own_data(root, cache, device, True, workers)
        again = images / (time.perf_counter() - start)
        streamed = own_data(root, cache, device, False, workers)
        sides = {
            "torchvision ImageFolder + DataLoader + PIL": peer_loader(root, workers, device.type == "cuda"),
            "dml, files decoded every epoch": streamed.train_dataloader(),
            "dml, images in memory": held.train_dataloader(),
        }
        rates = [(name, max(epochs(loader, device, repeats))) for name, loader in sides.items()]
        return [
            *rates,
            ("dml: decoding once, first start", once),
            ("dml: reading the cache, later starts", again),
            (f"a training step of the MLP encoder alone, batch {BATCH}", step_rate(device)),
        ]


def table(rows: list[tuple[str, float]], device: torch.device, images: int, workers: int) -> str:
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{len(os.sched_getaffinity(0))} CPU cores"
    names = ("torch", "torchvision", "pillow")
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {where}, {workers} workers, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in names)
        + f"; {images} JPEG files of {SIDE}×{SIDE}, batches of {BATCH}, best epoch.",
        "",
        "| | images/s | ratio |",
        "|---|---:|---:|",
    ]
    lines += [f"| {name} | {rate:,.0f} | {rate / rows[0][1]:.1f} |" for name, rate in rows]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", type=Path, help="append the table to this file")
    options = parser.parse_args()
    device = torch.device(options.device)
    rows = measure(options.images, options.epochs, device, options.workers)
    text = table(rows, device, options.images, options.workers)
    print(text)
    if options.write:
        with options.write.open("a", encoding="utf-8") as file:
            file.write(f"\n{text}\n")


if __name__ == "__main__":
    main()
