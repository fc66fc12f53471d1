"""Several processes of one machine: the first prepares the data, the others take over what it found."""

import os
import pickle
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dml.data import ImageData, ImageFolder, StratifiedSplit
from dml.data import datamodule as module
from dml.data.images import flaws
from dml.data.images import open as images
from dml.data.sources import files
from dml.errors import UserError

WORK = ((files, "walk"), (files.Folder, "read"), (images, "decode_all"), (images, "read_cache"))
WORK += ((images, "find_unreadable"), (flaws, "find_flaws"), (module, "assign_parts"), (module, "split_hash"))
NOWHERE = "/proc/nowhere"  # where nobody can write


class LocalFolder(ImageFolder):
    """A folder whose catalog cannot be handed to another process."""

    def open(self):
        catalog = super().open()
        object.__setattr__(catalog, "secret", lambda: None)
        return catalog


KEYS = {
    "first": {},
    "again": {},
    "not cached": {"cache": False},
    "beyond memory": {"memory_limit": 0.0, "on_error": "skip"},
    "not writable": {"cache_dir": NOWHERE},
    "counted before": {},
    "one had set up": {},
    "not to be handed over": {"source": LocalFolder},
    "unreadable": {"image_size": 9},
}


def data_of(root, case):
    keys = {"root": root, "image_size": 8, "split": StratifiedSplit(val=6, test=6), "workers": 0, "batch_size": 4}
    keys |= KEYS[case]
    return ImageData(**keys if "source" not in keys else keys | {"root": None, "source": keys["source"](root)})


def write_folder(root):
    """Write three classes of 12 images, long ago: only then are their hashes kept."""
    rng, long_ago = np.random.default_rng(0), time.time_ns() - 10**12
    for i in range(36):
        path = root / "abc"[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20 + i, 30, 3), dtype=np.uint8)).save(path)
        os.utime(path, ns=(long_ago, long_ago))
    return str(root)


def count_work():
    """Count from now on what preparing takes."""
    counts = Counter()

    def counting(name, function):
        def counted(*values, **keys):
            counts[name] += 1
            return function(*values, **keys)

        return counted

    for place, name in WORK:
        setattr(place, name, counting(name, getattr(place, name)))
    return counts


def found_in(data):
    return {
        "split": data.split_hash,
        "names": list(data.catalog.names),
        "fingerprint": data.catalog.fingerprint,
        "train": data.parts.train.tolist(),
        "pixels": data.pixels.get(np.arange(36)).tolist(),
        "left out": [*data.unreadable, *data.flawed, *data.unlabelled.tolist()],
    }


def prepare(rank, case, root, counts):
    """Set up the data of a case as a trainer does; return what came of it, what it took, and where pixels lie."""
    data = data_of(root, case)
    os.environ["DML_CACHE"] = NOWHERE if case == "not writable" else os.environ["KEPT"]
    if case == "one had set up" and rank == 0:
        data.setup()
    if case == "unreadable" and rank == 0:
        Path(root, "a", "0.png").write_bytes(b"x")
    counts.clear()
    if case == "counted before":
        assert data.count_labels() == 3
    data.trainer = SimpleNamespace(local_rank=rank, node_rank=0)
    try:
        data.setup()
        data.setup()  # a second call does nothing
    except UserError as error:
        return f"{type(error).__name__}: {error}", dict(counts), None
    return found_in(data), dict(counts), getattr(data.pixels, "file", None)


def process(rank, size, root, folder):
    counts = count_work()
    found = {case: prepare(rank, case, root, counts) for case in KEYS}
    Path(folder, f"{rank}.pickle").write_bytes(pickle.dumps(found))


@pytest.fixture(scope="module")
def both(tmp_path_factory, in_group):
    """Return what one process finds, what two found in every case, and what these left in the temporary folder."""
    place = tmp_path_factory.mktemp("handover")
    root, left = write_folder(place / "photos"), place / "left"
    left.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DML_CACHE", str(place / "alone"))
        alone = data_of(root, "first")
        alone.setup()
        patch.setenv("KEPT", str(place / "cache"))
        patch.setenv("TMPDIR", str(left))
        in_group(process, 2, root, str(place))
    found = [pickle.loads((place / f"{rank}.pickle").read_bytes()) for rank in (0, 1)]
    return found_in(alone), *found, list(left.iterdir())


def test_one_of_two_processes_reads_hashes_decodes_and_splits(both):
    alone, first, second, left = both
    for case in ("first", "again", "not cached", "beyond memory", "not writable"):
        assert first[case][0] == second[case][0] == alone, case
        assert second[case][1] == {}, case
    hashed = {"walk": 1, "read": 36, "decode_all": 1, "read_cache": 2, "find_flaws": 1}
    split = {"assign_parts": 1, "split_hash": 1}
    assert first["first"][1] == hashed | split
    assert first["again"][1] == {"walk": 1, "read_cache": 1, "find_flaws": 1} | split
    assert first["beyond memory"][1] == {"walk": 1, "find_unreadable": 1} | split
    assert left == []


def test_decoded_images_are_mapped_where_the_cache_holds_them(both):
    _, first, second, _ = both
    assert first["first"][2] == second["first"][2] is not None
    for case in ("not cached", "not writable", "beyond memory"):
        assert first[case][2] is second[case][2] is None


def test_classes_that_are_counted_before_take_a_walk_and_no_reading(both):
    alone, first, second, _ = both
    assert first["counted before"][0] == second["counted before"][0] == alone
    assert first["counted before"][1]["walk"] == 1
    assert second["counted before"][1] == {"walk": 1}


def test_what_one_process_had_set_up_before_is_taken_over(both):
    alone, first, second, _ = both
    assert first["one had set up"][:2] == second["one had set up"][:2] == (alone, {})


def test_what_cannot_be_handed_over_is_prepared_by_each(both):
    alone, first, second, _ = both
    assert first["not to be handed over"][0] == second["not to be handed over"][0] == alone
    assert second["not to be handed over"][1]["walk"] == 1


def test_where_the_first_fails_all_end_with_what_it_says(both):
    _, first, second, _ = both
    told = first["unreadable"][0]
    assert told.startswith("UserError: image 'a/0.png' cannot be read")
    assert second["unreadable"][:2] == (f"ToldElsewhere{told.replace('User', '', 1)}", {})
