"""Arrays on odd scales, and places on a disk that are not what they seem, for `fuzz_files.py`."""

import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dml import cli
from dml.errors import UserError

Read = Callable[..., Any]


class Nonsense(Exception):  # noqa: N818 - a finding
    """Read without a word although it cannot be right."""


def odd_arrays(rng: random.Random) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
    """Return arrays (N, H, W) with what they are and the bytes they mean; None where nobody can tell."""
    base = np.random.default_rng(rng.randrange(1000)).integers(0, 256, (10, 6, 6), dtype=np.uint8)
    base[:, 0, :2] = 0, 255
    unit = base / 255
    spot = (rng.randrange(10), rng.randrange(6), rng.randrange(6))

    def with_spot(array: np.ndarray, value: object) -> np.ndarray:
        array = array.copy()
        array[spot] = value
        return array

    meant = [(f"{kind} bytes", base.astype(kind), base) for kind in (np.uint8, np.int16, np.int64, np.uint32)]
    meant += [(f"{kind} 0..1", unit.astype(kind), base) for kind in (np.float16, np.float32, np.float64)]
    meant += [("uint16", base.astype(np.uint16) * 257, base), ("bool", base > 127, np.uint8(255) * (base > 127))]
    unclear: list[tuple[str, np.ndarray]] = [
        ("NaN", with_spot(unit, np.nan)),
        ("infinity", with_spot(unit, np.inf)),
        ("all NaN", np.full_like(unit, np.nan)),
        ("negative floats", with_spot(unit, -0.5)),
        ("floats -1..1", 2 * unit - 1),
        ("floats 0..16", np.rint(16 * unit)),
        ("floats 0..255", 255 * unit),
        ("huge floats", 1e300 * unit),
        ("standardised floats", (unit - unit.mean()) / unit.std()),
        ("complex", unit + 1j),
        ("above 255", with_spot(base.astype(np.int32), 256 + rng.randrange(5000))),
        ("negative integers", with_spot(base.astype(np.int64), -1 - rng.randrange(300))),
        ("bytes in uint16", base.astype(np.uint16)),
        ("equal images", np.repeat(base[:1], 10, axis=0)),
        ("zeros", np.zeros_like(base)),
        ("texts", base.astype(str)),
        ("objects", base.astype(object)),
        ("dates", base.astype("datetime64[s]")),
        ("structures", base.view([("r", np.uint8)])),
        ("no pixels", base[:, :0]),
        ("no images", base[:0]),
        ("flat", base.reshape(10, -1)),
        ("channels first", np.repeat(base[:, None], 3, axis=1)),
        ("five axes", base[:, :, :, None, None]),
    ]
    return [*meant, *((what, array, None) for what, array in unclear)]


def photos(folder: Path, count: int = 6) -> Path:
    """Write two classes of images."""
    for i in range(count):
        path = folder / ("ash", "birch")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def refused(read: Callable[[], object], what: str) -> None:
    """Read what must be refused."""
    read()
    raise Nonsense(f"{what} is read without a word")


def dense_links(folder: Path, rng: random.Random, read: Read) -> None:
    """Ten folders, each with links to all others."""
    root = photos(folder / "p")
    for i in range(10):
        (root / "ash" / f"d{i}").mkdir()
    for i in range(10):
        for j in range(10):
            (root / "ash" / f"d{i}" / f"l{j}").symlink_to(root / "ash" / f"d{j}")
    if len(read(root, rng).catalog) != 6:
        raise Nonsense("images are counted twice")


def link_to_the_top(folder: Path, rng: random.Random, read: Read) -> None:
    """A link to the top of the file system."""
    root = photos(folder / "p")
    (root / "ash" / "top").symlink_to("/")
    if len(read(root, rng).catalog) != 6:
        raise Nonsense("the whole machine is read")


def special_files(folder: Path, rng: random.Random, read: Read) -> None:
    """A pipe, a device or a folder named in a manifest, or lying in a class folder."""
    root = photos(folder / "p")
    path = root / "ash" / "x.png"
    how = rng.choice(["fifo", "/dev/zero", "/dev/stdin", "/proc/self/mem", "folder"])
    if how == "fifo":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    else:
        path.symlink_to(how)
    if rng.random() < 0.5:
        read(root, rng)
        return
    named = how if how.startswith("/") and rng.random() < 0.5 else "ash/x.png"
    (root / "t.csv").write_text(f"path,label\nash/0.png,a\nbirch/1.png,b\nash/2.png,a\n{named},b\n")
    read(root / "t.csv", rng)


def special_root(folder: Path, rng: random.Random, read: Read) -> None:
    """A root that is a pipe, a device, a very long name or holds a NUL."""
    suffix = rng.choice([".npz", ".csv", ".zip", ".parquet", ""])
    path = folder / f"x{suffix}"
    how = rng.choice(["fifo", "/dev/zero", "long", "nul", "folder", "control"])
    if how == "fifo":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how.startswith("/"):
        path.symlink_to(how)
    name = {"long": "x" * 5000 + suffix, "nul": f"{folder}/a\0b{suffix}", "control": f"\x1b[2J\r{suffix}"}.get(
        how, path
    )
    refused(lambda: read(name, rng), f"root {how}{suffix}")


def large_file(folder: Path, rng: random.Random, read: Read) -> None:
    """Three gigabytes with an image's name."""
    root = photos(folder / "p")
    with (root / "ash" / "large.png").open("wb") as file:
        file.write((root / "ash" / "0.png").read_bytes())
        file.truncate(3 << 30)
    if "ash/large.png" not in [read(root, rng).catalog.names[i] for i in read(root, rng, on_error="skip").unreadable]:
        raise Nonsense("a file of 3 GB is read")


def zip_bomb(folder: Path, rng: random.Random, read: Read) -> None:
    """A member that unpacks to far more than an image has."""
    with zipfile.ZipFile(folder / "z.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in photos(folder / "p").rglob("*.png"):
            archive.write(path, path.relative_to(folder / "p"))
        with archive.open("ash/bomb.png", "w") as file:
            for _ in range(640):
                file.write(bytes(1 << 20))
    refused(lambda: read(folder / "z.zip", None), "a zip bomb")


def zip_names(folder: Path, rng: random.Random, read: Read) -> None:
    """Members that lead out of the zip."""
    name = rng.choice(["../ash/x.png", "/ash/x.png", "ash/../../x.png", "..\\ash\\x.png", "C:\\ash\\x.png"])
    with zipfile.ZipFile(folder / "z.zip", "w") as archive:
        for path in photos(folder / "p").rglob("*.png"):
            archive.write(path, path.relative_to(folder / "p"))
            archive.writestr(name, path.read_bytes())
    refused(lambda: read(folder / "z.zip", rng), f"a zip with {name}")


def manifest_outside(folder: Path, rng: random.Random, read: Read) -> None:
    """A manifest that leads out of its folder."""
    photos(folder / "p")
    shutil.move(folder / "p" / "ash" / "0.png", folder / "out.png")
    (folder / "p" / "link.png").symlink_to(folder / "out.png")
    name = rng.choice(["../out.png", f"{folder}/out.png", "ash/../../out.png", "link.png"])
    (folder / "p" / "t.csv").write_text(f"path,label\nash/2.png,a\nbirch/1.png,b\n{name},a\nbirch/3.png,b\n")
    refused(lambda: read(folder / "p" / "t.csv", rng), f"a manifest with {name}")


def odd_names(folder: Path, rng: random.Random, read: Read) -> None:
    """Names that would act on a terminal, or are no UTF-8."""
    odd = rng.choice(["a\x1b[2Jb", "a\rb", "a\u202eb", "a\nb", "a\x07", "\udcff\udcfe", "a\u2066b", "\x9b2J"])
    root = photos(folder / "p")
    (root / "ash").rename(root / odd)
    (root / odd / f"{odd}.png").write_bytes(
        b"no image" if rng.random() < 0.5 else (root / "birch" / "1.png").read_bytes()
    )
    shutil.copy(root / odd / "0.png", root / "birch" / f"{odd}.png")
    skip = ["--data.on_error", rng.choice(["raise", "skip"])]
    words = ["--data.root", str(root), "--data.image_size", "8", "--data.cache", "false", *skip]
    if cli.main(["audit", *words]) == 2:
        raise SystemExit(2)


def huge_header(folder: Path, rng: random.Random, read: Read) -> None:
    """An archive whose header promises more than any machine holds."""
    shape = rng.choice([(10**13, 8, 8), (10**6, 10**4, 10**4), (2**62, 4, 1), (-1, 8, 8), (10, 8)])
    kind = rng.choice(["|u1", "<f8", "|O", "<U99999999"])
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    with zipfile.ZipFile(folder / "h.npz", "w") as archive:
        member = b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header.encode() + bytes(640)
        archive.writestr("images.npy", member)
        archive.writestr("embeddings.npy", member)
        for key in ("labels", "ids"):
            with archive.open(f"{key}.npy", "w") as file:
                np.lib.format.write_array(file, np.arange(10) % 2)
    if rng.random() < 0.5:
        words = ["evaluate", "--embeddings", str(folder / "h.npz"), "--output", str(folder / "scores.json")]
        if cli.main(words) == 2:
            raise SystemExit(2)
        raise Nonsense("a header that cannot be is scored")
    refused(lambda: read(folder / "h.npz", rng), "a header that cannot be")


def odd_labels(folder: Path, rng: random.Random, read: Read) -> None:
    """Labels that are none."""
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 4), dtype=np.uint8)
    labels = rng.choice(
        [
            np.array([0, 1, np.nan, 1] * 2),
            np.zeros((8, 2)),
            np.arange(7),
            np.arange(8) * 1j,
            np.array([0.5, np.inf] * 4),
        ]
    )
    np.savez(folder / "l.npz", images=images, labels=labels)
    refused(lambda: read(folder / "l.npz", rng), f"labels {labels.dtype} {labels.ravel()[:4]}")


def full_disk(folder: Path, rng: random.Random, read: Read) -> None:
    """Output to a place that takes nothing."""
    photos(folder / "p")
    os.mkfifo(folder / "pipe")
    places = ["/proc/none/x.json", str(folder / "p" / "ash" / "0.png" / "x.json"), str(folder), str(folder / "pipe")]
    place = rng.choice(places)
    words = ["audit", "--data.root", str(folder / "p"), "--data.cache_dir", str(folder / "c"), "--output", place]
    if cli.main([*words]) not in (2, 3):
        raise Nonsense(f"written to {place}")
    raise UserError("refused")


ODD_PLACES: dict[str, Callable[[Path, random.Random, Read], None]] = {
    place.__name__: place
    for place in (
        dense_links,
        link_to_the_top,
        special_files,
        special_root,
        large_file,
        zip_bomb,
        zip_names,
        manifest_outside,
        odd_names,
        huge_header,
        odd_labels,
        full_disk,
    )
}
