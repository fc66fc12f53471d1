"""Writes small sets of smooth random images, each with a tint of its class, in the layouts of the originals."""

import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image


def smooth_image(number: int, label: int, side: int) -> Image.Image:
    """Draw image `number` of a class."""
    rng = np.random.default_rng(number)
    tint = np.random.default_rng([7, label]).integers(0, 160, (1, 1, 3))
    small = Image.fromarray((rng.integers(0, 96, (4, 4, 3)) + tint).astype(np.uint8))
    return small.resize((side, side), Image.Resampling.BICUBIC)


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def write_folder(root: Path, count: int, classes: int, side: int) -> None:
    """Write a folder of class folders."""
    for i in range(count):
        _save(smooth_image(i, i % classes, side), root / f"class{i % classes:02d}" / f"{i:05d}.jpg")


def write_mnist(root: Path, train: int, test: int) -> None:
    """Write MNIST's four files."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, count in (("train", train), ("t10k", test)):
        images = [np.asarray(smooth_image(i, i % 10, 28).convert("L")) for i in range(count)]
        labels = (np.arange(count) % 10).astype(np.uint8)
        head = struct.pack(">IIII", 2051, count, 28, 28)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(head + np.stack(images).tobytes())
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())


def write_omniglot(path: Path, alphabets: int, characters: int) -> None:
    """Write a zip of alphabets, 20 drawings of each character."""
    drawings = path.with_suffix("")
    for place, i in _drawings(alphabets, characters):
        _save(smooth_image(i, i // 20, 105).convert("1"), drawings / place)
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(drawings.rglob("*.png")):
            archive.write(file, file.relative_to(drawings.parent))


def _drawings(alphabets: int, characters: int) -> Iterator[tuple[str, int]]:
    for i in range(alphabets * characters * 20):
        alphabet, character = divmod(i // 20, characters)
        yield f"Alphabet{alphabet}/character{character + 1:02d}/{i:05d}.png", i


def write_cub(root: Path, birds: int, images: int, side: int) -> None:
    """Write CUB-200-2011's lists and images, of every so many of its 200 birds so many images."""
    labels = [label for label in range(1, 201, 200 // birds) for _ in range(images)]
    names = [f"{label:03d}.Bird/{i}.jpg" for i, label in enumerate(labels)]
    for i, (label, name) in enumerate(zip(labels, names, strict=True)):
        _save(smooth_image(i, label, side), root / "images" / name)
    (root / "images.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(names)))
    (root / "image_class_labels.txt").write_text("".join(f"{i} {label}\n" for i, label in enumerate(labels)))
    (root / "classes.txt").write_text("".join(f"{label} {label:03d}.Bird\n" for label in sorted(set(labels))))
