"""Archives of embeddings and the files of a run, for `fuzz_files.py`: how they are made, spoilt and read."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fuzz_images import photos
from fuzz_spoil import spoil_one
from fuzz_values import Nonsense

from dml import cli
from dml.embeddings import EmbeddingSet


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
