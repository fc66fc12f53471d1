"""Files of images and what lists them, for `fuzz_files.py`: how they are made and read."""

import csv
import importlib.util
import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from fuzz_values import ODD_PLACES, Nonsense, odd_arrays
from PIL import Image

from dml.data import CUB200, ArrayFile, Cars196, ImageData, TorchvisionSet
from dml.errors import UserError


def noise(seed: int, shape: tuple[int, ...] = (12, 10, 3)) -> np.ndarray:
    """Return random bytes."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def photos(suffix: str, folder: Path, count: int = 8) -> None:
    """Write images of two classes."""
    for i in range(count):
        path = folder / "photos" / ("ash", "birch")[i % 2] / f"{i}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(i)).save(path)
    remember(folder, read_images(folder / "photos"))


def remember(folder: Path, data: ImageData) -> None:
    """Keep the true pixels by name."""
    kept = zip(data.catalog.names, data.thumbnails(torch.arange(len(data.catalog))), strict=True)
    np.savez(folder / "truth", **{name.replace("/", "|"): image.numpy() for name, image in kept})


def read_images(root: Path | None, rng: random.Random | None = None, **keys: object) -> ImageData:
    """Set the data up, read every image once and look at what came."""
    skip = rng is not None and rng.random() < 0.5
    held = rng is None or rng.random() < 0.8
    more = {
        "memory_limit": 4.0 if held else 0.0,
        "workers": 0 if not held else 1,
        "on_error": "skip" if skip else "raise",
    }
    data = ImageData(root=None if root is None else str(root), **{"cache": False, **more, **keys})
    data.setup()
    catalog = data.catalog
    if len(catalog.names) != len(catalog.labels):
        raise Nonsense(f"{len(catalog.names)} names for {len(catalog.labels)} labels")
    if catalog.labels.min() < 0 or catalog.labels.max() >= len(catalog.class_names):
        raise Nonsense("labels out of range")
    kept = np.setdiff1d(np.arange(len(catalog)), data.unreadable)
    for batch in data.ordered_dataloader(kept):
        if not torch.isfinite(batch.images).all():
            raise Nonsense("pixels that are not finite")
    if len(data.parts.train) + len(data.parts.val) + len(data.parts.test) + len(data.unreadable) > len(catalog):
        raise Nonsense("more samples than images")
    return data


def like_truth(root: str, **keys: object) -> Callable[[Path, random.Random], None]:
    """Return a reader that compares with the pixels the intact files held."""

    def read(folder: Path, rng: random.Random) -> None:
        data = read_images(folder / root, rng, **keys)
        truth = np.load(folder / "truth.npz")
        for i in set(range(len(data.catalog))) - set(data.unreadable):
            name = data.catalog.names[i].replace("/", "|")
            if name in truth and not np.array_equal(truth[name], data.thumbnails(np.array([i]))[0]):
                raise Nonsense(f"{name} has other pixels than its intact file")

    return read


def make_zip(folder: Path) -> None:
    """Write a zip of class folders, half of it deflated."""
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for i in range(8):
            buffer = io.BytesIO()
            Image.fromarray(noise(i)).save(buffer, "bmp")
            how = zipfile.ZIP_DEFLATED if i < 4 else zipfile.ZIP_STORED
            archive.writestr(f"{('ash', 'birch')[i % 2]}/{i}.bmp", buffer.getvalue(), how)
    remember(folder, read_images(folder / "photos.zip"))


def make_arrays(folder: Path) -> None:
    """Write arrays of images with labels."""
    (np.savez, np.savez_compressed)[0](folder / "a.npz", images=noise(0, (12, 6, 6)), labels=np.arange(12) % 3)
    remember(folder, read_images(folder / "a.npz"))


def make_table(folder: Path) -> None:
    """Write a manifest."""
    photos("png", folder)
    with (folder / "photos" / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split", "group"])
        rows.writerows(
            [[f"{('ash', 'birch')[i % 2]}/{i}.png", i % 2, ("train", "test")[i > 5], i // 2] for i in range(8)]
        )


def make_parquet(folder: Path) -> None:
    """Write the same as Parquet, where pyarrow is installed."""
    make_table(folder)
    if importlib.util.find_spec("pyarrow"):
        from pyarrow import csv as arrow_csv
        from pyarrow import parquet

        parquet.write_table(arrow_csv.read_csv(folder / "photos" / "table.csv"), folder / "photos" / "table.parquet")
    else:
        (folder / "photos" / "table.parquet").write_bytes(b"PAR1PAR1")


def make_idx(folder: Path) -> None:
    """Write MNIST's four files, small."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 12), ("t10k", 6)):
        head = b"".join(number.to_bytes(4, "big") for number in (2051, count, 28, 28))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + noise(count, (count, 28, 28)).tobytes())
        labels = bytes(i % 3 for i in range(count))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes((2049).to_bytes(4, "big") + count.to_bytes(4, "big") + labels)


def read_idx(folder: Path, rng: random.Random) -> None:
    """Read them by torchvision's class; counts and labels are known."""
    data = read_images(None, rng, source=TorchvisionSet("MNIST", str(folder), download=False))
    if len(data.catalog) != 18 or data.image_shape != (1, 28, 28) or data.num_classes != 10:
        raise Nonsense(f"{len(data.catalog)} images of shape {data.image_shape}, {data.num_classes} classes")


def make_birds(folder: Path) -> None:
    """Write a small CUB-200 and a small Cars196."""
    from scipy.io import savemat

    photos("jpg", folder / "images")
    (folder / "images").rename(folder / "x")
    (folder / "x" / "photos").rename(folder / "images")
    files = sorted(path.relative_to(folder / "images").as_posix() for path in (folder / "images").rglob("*.jpg"))
    (folder / "images.txt").write_text("".join(f"{i} {file}\n" for i, file in enumerate(files, 1)))
    (folder / "image_class_labels.txt").write_text("".join(f"{i} {(1, 2, 101, 102)[i % 4]}\n" for i in range(1, 9)))
    (folder / "classes.txt").write_text("".join(f"{i} class{i}\n" for i in (1, 2, 101, 102)))
    kind = [("relative_im_path", object), ("class", object)]
    rows = np.array([(f"images/{file}", (1, 2, 101, 102)[i % 4]) for i, file in enumerate(files)], dtype=kind)
    savemat(
        folder / "cars_annos.mat", {"annotations": rows, "class_names": np.array([f"c{i}" for i in range(196)], object)}
    )


def read_birds(folder: Path, rng: random.Random) -> None:
    """Read both."""
    for source in (CUB200(str(folder)), Cars196(str(folder))):
        data = read_images(None, rng, source=source, image_size=8)
        if len(data.catalog) != 8:
            raise Nonsense(f"{len(data.catalog)} images")


def make_cache(folder: Path) -> None:
    """Write photographs and an entry of decoded ones."""
    photos("png", folder)
    ImageData(root=str(folder / "photos"), cache_dir=str(folder / "decoded")).setup()


def read_cached(folder: Path, rng: random.Random) -> None:
    """Read them by way of the cache."""
    like_truth("photos", cache=True, cache_dir=str(folder / "decoded"))(folder, rng)


def read_place(folder: Path, rng: random.Random) -> None:
    """Build one of the odd places and read it."""
    ODD_PLACES[rng.choice(sorted(ODD_PLACES))](folder, rng, read_images)


def read_values(folder: Path, rng: random.Random) -> None:
    """Take an array of odd values: refused or told, or read as it was meant."""
    what, images, truth = rng.choice(odd_arrays(rng))
    np.savez(folder / "v.npz", images=images, labels=np.arange(len(images)) % 2)
    try:
        data = ImageData(source=ArrayFile(str(folder / "v.npz")), cache=False)
        data.setup()
    except UserError as error:
        if truth is not None:
            raise Nonsense(f"{what} is refused: {error}") from error
        raise
    if truth is None:
        raise Nonsense(f"{what} is read without a word")
    if not np.array_equal(data.thumbnails(np.arange(len(images)))[:, 0], truth):
        raise Nonsense(f"{what} is read as something else")


def nothing(folder: Path, rng: random.Random | None = None) -> str:
    """Make or spoil nothing: the reader does both."""
    return "by the reader"
