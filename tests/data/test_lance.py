"""Lance tables: converted, stopped and gone on with, read like the folder they were made of, and their bad input."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dml.data import Augmentation, ImageData, ImageFolder, Lance, Manifest, StratifiedSplit
from dml.data.images.read import read_image
from dml.data.sources import convert
from dml.data.sources.convert import convert_files
from dml.data.sources.detect import source_of_root
from dml.errors import UserError

lance = pytest.importorskip("lance")
arrow = pytest.importorskip("pyarrow")
SPLIT = StratifiedSplit(val=6, test=0)


@pytest.fixture
def table(folder: Path, tmp_path: Path) -> Path:
    convert_files(ImageFolder(str(folder)).find(), str(tmp_path / "photos.lance"))
    return tmp_path / "photos.lance"


def prepare(root: Path, **keys) -> ImageData:
    data = ImageData(
        root=str(root),
        image_size=16,
        split=SPLIT,
        batch_size=9,
        classes_per_batch=3,
        transform=Augmentation(rotate=9, flip=0.5),
        **keys,
    )
    data.setup()
    return data


def test_a_table_holds_what_its_folder_holds(folder: Path, table: Path) -> None:
    expected, found = ImageFolder(str(folder)).open(), source_of_root(str(table)).open()
    assert list(found.names) == list(expected.names)
    assert found.labels.tolist() == expected.labels.tolist()
    assert found.class_names == expected.class_names
    assert found.fingerprint == expected.fingerprint
    assert lance.dataset(str(table)).take([5], columns=["image"])["image"].to_pylist() == [
        (folder / expected.names[5]).read_bytes()
    ]


@pytest.mark.parametrize("keys", [{}, {"memory_limit": 0.0, "workers": 0}, {"memory_limit": 1e-5, "workers": 3}])
def test_batches_are_bit_equal_to_those_of_the_folder_in_memory(folder: Path, table: Path, keys) -> None:
    held, read = prepare(folder, cache=False), prepare(table, cache=False, eval_batch_size=9, **keys)
    assert read.split_hash == held.split_hash
    for a, b in zip(held.train_dataloader(), read.train_dataloader(), strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.ids, b.ids)
    loader = read.train_dataloader()
    loader.load_state_dict({"epoch": 0, "position": 2})  # a resume in the middle of the epoch
    rest = [batch.images for batch in held.train_dataloader()][2:]
    assert all(torch.equal(a, b.images) for a, b in zip(rest, loader, strict=True))


def test_manifests_keep_parts_groups_and_flags(folder: Path, tmp_path: Path) -> None:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    rows = [
        f"{name},{i % 3},{('train', 'test')[i % 2]},g{i % 5},{i % 4 == 1},{i % 4 != 1}" for i, name in enumerate(names)
    ]
    (folder / "t.csv").write_text("\n".join(["path,label,split,group,is_query,is_reference", *rows]))
    source = Manifest(str(folder / "t.csv"))
    convert_files(source.find(), str(tmp_path / "t.lance"))
    expected, found = source.open(), Lance(str(tmp_path / "t.lance")).open()
    assert found.parts == expected.parts
    assert found.class_names == expected.class_names
    assert found.fingerprint == expected.fingerprint
    for name in ("labels", "groups", "is_query", "is_reference"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


KILLED = """
import contextlib, os, signal, sys
from dml.data.sources import convert
from dml.data.sources.folder import ImageFolder
convert._READ = 4
@contextlib.contextmanager
def progress(total):
    left = [22]
    def step(count):
        left[0] -= count
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    yield step
convert.convert_files(ImageFolder(sys.argv[1]).find(), sys.argv[2], committed=1, progress=progress)
"""


def test_a_conversion_that_is_killed_goes_on_where_it_was(folder: Path, tmp_path: Path, monkeypatch) -> None:
    to = tmp_path / "killed.lance"
    ended = subprocess.run([sys.executable, "-c", KILLED, folder, to], env=os.environ | {"PYTHONPATH": os.getcwd()})  # noqa: PTH109
    assert ended.returncode == -signal.SIGKILL
    with pytest.raises(
        UserError, match=r"holds 20 of 36 images, its conversion was stopped: run the same `dml convert`"
    ):
        Lance(str(to)).open()
    monkeypatch.setattr(convert, "_READ", 4)
    read: list[Path] = []
    whole = Path.read_bytes
    monkeypatch.setattr("dml.runs.read_bytes", lambda path, *most: read.append(path) or whole(path))
    done = convert_files(ImageFolder(str(folder)).find(), str(to))
    assert (done.images, done.before, len(read)) == (36, 20, 16)
    assert Lance(str(to)).open().fingerprint == ImageFolder(str(folder)).open().fingerprint
    data = {path.name for path in (to / "data").iterdir()}
    assert len(data) == len(lance.dataset(str(to)).get_fragments())  # nothing is left of the attempt
    assert convert_files(ImageFolder(str(folder)).find(), str(to)).before == 36


def test_what_a_conversion_refuses(folder: Path, tmp_path: Path, table: Path) -> None:
    (tmp_path / "other.lance").mkdir()
    (tmp_path / "other.lance" / "notes.txt").write_text("mine")
    found = ImageFolder(str(folder)).find()
    with pytest.raises(UserError, match="exists but is not a Lance data set"):
        convert_files(found, str(tmp_path / "other.lance"))
    with pytest.raises(UserError, match=r"no folder '.*away'"):
        convert_files(found, str(tmp_path / "away" / "x.lance"))
    shutil.rmtree(folder / "ash")
    with pytest.raises(UserError, match="holds other images: give another place"):
        convert_files(ImageFolder(str(folder)).find(), str(table))
    with convert._alone(tmp_path / "busy.lance"), pytest.raises(UserError, match="another process writes"):
        convert_files(found, str(tmp_path / "busy.lance"))


def test_files_that_cannot_be_read(folder: Path, tmp_path: Path) -> None:
    found = ImageFolder(str(folder)).find()
    (folder / (lost := found.files[30])).unlink()
    to = str(tmp_path / "holes.lance")
    with pytest.raises(UserError, match=rf"^image '{lost}' cannot be read \(No such file.*--on_error skip$"):
        convert_files(found, to)
    assert lance.dataset(to).count_rows() == 30  # what was read is kept
    done = convert_files(found, to, on_error="skip")
    assert (done.before, done.unreadable) == (30, [lost])
    with pytest.raises(UserError, match=rf"image '{lost}' cannot be read \(the row holds no image\)"):
        prepare(Path(to))
    assert prepare(Path(to), on_error="skip").unreadable == [30]
    assert prepare(Path(to), on_error="skip", memory_limit=0.0, workers=2).unreadable == [30]


def test_a_table_of_somebody_elses(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.png" for i in range(4)]
    for i, file in enumerate(files):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(file)
    columns = {"jpg": [file.read_bytes() for file in files], "kind": [7, 7, 12, 12], "size": [1, 1, 1, 1]}
    to = str(tmp_path / "theirs.lance")
    lance.write_dataset(arrow.table(columns), to)
    catalog = Lance(to, image="jpg", label="kind").open()
    assert catalog.class_names == ["7", "12"]
    assert list(catalog.names) == ["row 0", "row 1", "row 2", "row 3"]
    assert read_image(catalog, 3, None, 1).max() == 3
    lance.write_dataset(arrow.table(columns), to, mode="append")
    assert Lance(to, image="jpg", label="kind").open().fingerprint != catalog.fingerprint
    for keys, words in (
        ({}, "no column 'image'"),
        ({"image": "size", "label": "kind"}, "column 'size' .* holds int64"),
    ):
        with pytest.raises(UserError, match=words):
            Lance(to, **keys).open()


def test_stores_that_cannot_be_reached(tmp_path: Path, table: Path) -> None:
    with pytest.raises(UserError, match=r"no Lance data set '.*': give one that `dml convert` has written"):
        Lance(str(tmp_path / "none.lance")).open()
    away = {
        "aws_access_key_id": "x",
        "aws_secret_access_key": "y",
        "aws_region": "z",
        "aws_endpoint": "http://127.0.0.1:9",
        "allow_http": "true",
        "client_max_retries": "0",
    }
    with pytest.raises(UserError, match=r"'s3://b/x.lance' cannot be read \(.*\): check address, network and cred"):
        Lance("s3://b/x.lance", storage_options=away).open()
    with pytest.raises(UserError, match=r"cannot be read .*nosuch"):
        source_of_root("nosuch://b/x.lance").open()
    data = prepare(table, memory_limit=0.0, workers=2, on_error="skip", on_flaw="keep")
    shutil.rmtree(table / "data")
    with pytest.raises(UserError, match=r"^data set '.*photos.lance' cannot be read"):  # not: all images are unreadable
        list(data.train_dataloader())


def test_without_lance(folder: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(UserError, match=r"needs an extra: pip install pylance"):
        convert_files(ImageFolder(str(folder)).find(), "x.lance")


def test_a_memory_limit_below_one_batch(table: Path, folder: Path) -> None:
    for root in (table, folder):
        with pytest.raises(
            UserError, match=r"^data.memory_limit=1e-06: a batch of 512 images of 3×16×16 takes 0.000366 GiB"
        ):
            prepare(root, memory_limit=1e-6)
