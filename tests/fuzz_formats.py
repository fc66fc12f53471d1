"""The kinds of files that `fuzz_files.py` spoils: how each is made, spoilt and read."""

import csv
import importlib.util
import io
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fuzz_values import ODD_PLACES, Nonsense, odd_arrays
from PIL import Image

from dml import cli
from dml.data import CUB200, ArrayFile, Cars196, ImageData, TorchvisionSet
from dml.embeddings import EmbeddingSet
from dml.errors import UserError

TEXTS = (
    b"\0",
    b"\xff\xfe",
    b"NaN",
    b"1e999",
    b"-1",
    b"99999999999999999999",
    b"\x1b[2J",
    b"[" * 5000,
    b'"',
    b"&a [*a]",
)
TEXTS += (b"../../etc/passwd", b"/dev/zero", b",", b"\n", b"null", b"{}", b"[]", b"true", "\u202e".encode())
NUMBERS = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80")


@dataclass(frozen=True)
class Format:
    """How files of one kind are made, spoilt and read: `spoil` says what was done, `read` fails as its entry does."""

    make: Callable[[Path], object]
    read: Callable[[Path, random.Random], object]
    spoil: Callable[[Path, random.Random], str]


def spoil_one(pattern: str, text: bool = False) -> Callable[[Path, random.Random], str]:
    """Return a spoiler of one of the files that match."""

    def spoil(folder: Path, rng: random.Random) -> str:
        path = rng.choice(sorted(path for path in folder.glob(pattern) if path.is_file()))
        how, content = spoilt(path.read_bytes(), rng, text)
        if content is None:
            path.unlink()
            replace_by(path, how)
        else:
            path.write_bytes(content)
        return f"{path.relative_to(folder)}: {how}"

    return spoil


def replace_by(path: Path, how: str) -> None:
    """Put something that is no file in a file's place."""
    if how == "fifo":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how in ("/dev/zero", "/proc/self/mem"):
        path.symlink_to(how)
    elif how == "loop":
        path.symlink_to(path)


def spoilt(content: bytes, rng: random.Random, text: bool) -> tuple[str, bytes | None]:
    """Return what was done and the spoilt bytes; None: put something else in the file's place."""
    how = rng.choice(["cut", "empty", "flip", "flip", "fill", "extend", "repeat", "swap", "number", "place", "text"])
    at = rng.randrange(len(content) + 1)
    if how == "cut":
        return f"cut at {at}", content[:at]
    if how == "empty":
        return how, b""
    if how == "extend":
        return how, content + rng.randbytes(rng.randrange(1, 200))
    if how == "repeat":
        return f"{how} at {at}", content[:at] + content[at // 2 :]
    if how == "swap":
        other, suffix = rng.choice(
            [(b"PK\x03\x04", b"zip"), (b"%PDF-1.4\n", b"pdf"), (b"GIF89a", b"gif"), (b"\x93NUMPY", b"npy")]
        )
        return f"swap by {suffix.decode()}", other + rng.randbytes(100)
    if how == "place":
        return rng.choice(["fifo", "folder", "/dev/zero", "loop", "nothing"]), None
    if how == "text" and text:
        word = rng.choice(TEXTS)
        return f"{word[:20]!r} at {at}", content[:at] + word + content[at + rng.choice([0, len(word)]) :]
    changed = bytearray(content or b"\0")
    if how == "number":
        at, word = rng.randrange(min(len(changed), 200)), rng.choice(NUMBERS)
        changed[at : at + 4] = word
        return f"{word!r} at {at}", bytes(changed)
    if how == "fill":
        changed[at : at + 50] = bytes([rng.choice([0, 255])]) * len(changed[at : at + 50])
        return f"fill at {at}", bytes(changed)
    places = [rng.randrange(len(changed)) for _ in range(rng.randrange(1, 6))]
    for place in places:
        changed[place] ^= 1 << rng.randrange(8)
    return f"flip at {places}", bytes(changed)


# images


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


# embeddings and runs


def make_embeddings(folder: Path) -> None:
    """Write an archive, and the same as two .npy files."""
    rows, labels = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32), np.arange(20) % 3
    names = np.array([f"{i}.png" for i in range(20)])
    EmbeddingSet(rows, labels, np.arange(20), names, ["a", "b", "c"]).save(folder / "e.npz")
    np.save(folder / "e.npy", rows)
    np.save(folder / "l.npy", labels)


def read_embeddings(folder: Path, rng: random.Random) -> None:
    """Load the archive, which has checksums, and score both."""
    words = ["--embeddings", str(folder / "e.npy"), "--labels", str(folder / "l.npy")]
    front_door("evaluate", *words, "--output", str(folder / "scores.json"))
    found = EmbeddingSet.load(folder / "e.npz")
    truth = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    if not (np.array_equal(found.embeddings, truth) and np.array_equal(found.labels, np.arange(20) % 3)):
        raise Nonsense("other embeddings than were written")


def front_door(*words: str) -> None:
    """Run a verb."""
    code = cli.main(list(words))
    if code == 2:
        raise SystemExit(2)


def make_run(folder: Path) -> None:
    """Train a little."""
    photos("png", folder, 24)
    words = ["--data.root", str(folder / "photos"), "--data.image_size", "8", "--trainer.max_epochs", "1"]
    words += ["--pictures.projection", "pca", "--evaluation.k", "1", "--data.split", "dml.data.StratifiedSplit"]
    words += ["--data.split.val", "8", "--data.split.test", "0", "--trainer.accelerator", "cpu"]
    front_door("fit", "--runs_dir", str(folder / "runs"), "--name", "first", *words)
    shutil.copytree(folder / "runs" / "first", folder / "runs" / "second")


def read_run(folder: Path, rng: random.Random) -> None:
    """Read a run by one of the verbs that do."""
    runs = ["--runs_dir", str(folder / "runs")]
    verb = rng.choice(["report", "compare", "evaluate", "project", "audit"])
    words = {
        "report": ["report", "first"],
        "compare": ["compare", "first", "second"],
        "evaluate": ["evaluate", "--run", "first", *rng.choice([[], ["--knn_ks", "1,2"]])],
        "project": ["project", "--run", "first", "--method", "pca"],
        "audit": ["audit", "--run", "first"],
    }[verb]
    root = folder / "runs" / "first" / "config.yaml"
    original = str(folder.parent / "originals" / "run")
    if root.is_file() and not root.is_symlink():  # the photographs lie beside this copy
        root.write_bytes(root.read_bytes().replace(original.encode(), str(folder).encode()))
    front_door(*words, *runs)


def spoil_run(folder: Path, rng: random.Random) -> str:
    """Spoil bytes of one of a run's files, or what a JSON file or an archive of it holds."""
    run = folder / "runs" / "first"
    if rng.random() < 0.5:
        return spoil_one("runs/first/**/*", True)(folder, rng)
    path = rng.choice([run / "scores.json", run / "protocol.json", *sorted(run.glob("*.npz"))])
    if path.suffix == ".npz":
        with np.load(path) as archive:
            arrays = dict(archive)
        name = rng.choice(sorted(arrays))
        arrays[name], what = odd_array(arrays[name], rng)
        np.savez(path, **arrays)
        return f"{path.name}: {name} {what}"
    content = json.loads(path.read_text())
    block, way = content, []
    while True:
        key = rng.choice(sorted(block))
        way.append(key)
        if not isinstance(block[key], dict) or not block[key] or rng.random() < 0.3:
            break
        block = block[key]
    block[key] = rng.choice([None, [], {}, "x", "\x1b[2J", -1, 1e300, True, [[1]], {"a": {"b": 1}}, "9" * 400])
    if rng.random() < 0.2:
        block["\x1b]0;x\x07"] = 0.5
    path.write_text(json.dumps(content))
    return f"{path.name}: {'/'.join(way)} is {block[key]!r}"


def odd_array(array: np.ndarray, rng: random.Random) -> tuple[np.ndarray, str]:
    """Return an array with other values, another type or another shape, and what was done."""
    ways: dict[str, Callable[[], np.ndarray]] = {
        "negative": lambda: -1 - np.abs(array.astype(np.float64)) if array.dtype.kind in "iuf" else array,
        "huge": lambda: np.full_like(array, 2**62) if array.dtype.kind == "i" and array.itemsize == 8 else array,
        "NaN": lambda: np.full(array.shape, np.nan),
        "infinite": lambda: np.full(array.shape, np.inf),
        "1e300": lambda: np.full(array.shape, 1e300),
        "tiny": lambda: np.full(array.shape, 1e-310),
        "constant": lambda: np.zeros_like(array),
        "texts": lambda: np.full(array.shape, "\x1b[2J\u202e"),
        "complex": lambda: np.full(array.shape, 1j),
        "booleans": lambda: np.ones(array.shape, bool),
        "halves": lambda: np.full(array.shape, 0.5, np.float16),
        "empty": lambda: array[:0] if array.ndim else np.zeros(0),
        "one row": lambda: array[:1] if array.ndim else array[None],
        "one axis more": lambda: array[..., None],
        "one axis less": lambda: array.reshape(-1) if array.ndim > 1 else np.asarray(array.reshape(-1)[:1]).reshape(()),
        "no columns": lambda: array[:, :0] if array.ndim > 1 else array,
        "twice": lambda: np.concatenate([array, array]) if array.ndim else array,
        "dates": lambda: np.zeros(array.shape, "datetime64[s]"),
    }
    what = rng.choice(sorted(ways))
    return ways[what](), what


def spoil_set(folder: Path, rng: random.Random) -> str:
    """Put odd arrays into an archive of embeddings."""
    with np.load(folder / "e.npz") as archive:
        arrays = dict(archive)
    told = []
    for _ in range(rng.choice([1, 1, 2])):
        name = rng.choice(sorted(arrays))
        arrays[name], what = odd_array(arrays[name], rng)
        told.append(f"{name} {what}")
    if rng.random() < 0.1:
        del arrays[name]
        told.append(f"no {name}")
    np.savez(folder / "e.npz", **arrays)
    return ", ".join(told)


def read_set(folder: Path, rng: random.Random) -> None:
    """Score the archive or draw it; scores are numbers of their range."""
    words = ["--embeddings", str(folder / "e.npz"), "--output"]
    if rng.random() < 0.4:
        front_door("project", *words, str(folder / "map.png"), "--method", "pca")
        return
    more = rng.choice([[], ["--metric", "cosine"], ["--verification"], ["--clustering"]])
    front_door("evaluate", *words, str(folder / "scores.json"), *more)
    scores = json.loads((folder / "scores.json").read_text())["embeddings"]
    bad = {name: value for name, value in scores.items() if not name.startswith("num_") and not -1 <= value <= 1}
    if bad:
        raise Nonsense(f"scores {bad}")


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


FORMATS: dict[str, Format] = {
    kind: Format(
        lambda folder, kind=kind: photos(kind, folder),
        like_truth("photos") if kind == "png" else lambda folder, rng: read_images(folder / "photos", rng),
        spoil_one(f"photos/*/*.{kind}"),
    )
    for kind in ("png", "jpg", "bmp", "gif", "tiff", "webp", "ppm")
}
FORMATS |= {
    "zip": Format(make_zip, like_truth("photos.zip"), spoil_one("photos.zip")),
    "npz": Format(make_arrays, like_truth("a.npz"), spoil_one("a.npz")),
    "values": Format(nothing, read_values, nothing),
    "csv": Format(
        make_table,
        lambda folder, rng: read_images(folder / "photos" / "table.csv", rng),
        spoil_one("photos/table.csv", True),
    ),
    "parquet": Format(
        make_parquet,
        lambda folder, rng: read_images(folder / "photos" / "table.parquet", rng),
        spoil_one("photos/table.parquet"),
    ),
    "idx": Format(make_idx, read_idx, spoil_one("MNIST/raw/*")),
    "lists": Format(make_birds, read_birds, spoil_one("*.*", True)),
    "cache": Format(make_cache, read_cached, spoil_one("decoded/*.*", True)),
    "embeddings": Format(make_embeddings, read_embeddings, spoil_one("e.np*")),
    "sets": Format(make_embeddings, read_set, spoil_set),
    "run": Format(make_run, read_run, spoil_run),
    "places": Format(nothing, read_place, nothing),
}
