"""Sources of files, tables and arrays: found, labelled, and their bad input."""

import importlib.util
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from dml.data import (
    ArrayFile,
    Arrays,
    HuggingFace,
    ImageData,
    ImageFolder,
    Manifest,
    Points,
    StratifiedSplit,
    TorchDataset,
)
from dml.data.images.read import decode_all, read_image
from dml.data.sources.detect import source_of_root
from dml.data.sources.readers import ZipReader
from dml.errors import UserError


def zipped(folder: Path, inside: str = "") -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, f"{inside}{file.relative_to(folder)}")
        archive.writestr("__MACOSX/ash/._img 0.png", b"shadow")
    return path


def same_images(a, b) -> bool:
    return all(np.array_equal(read_image(a, i, (8, 8), 3), read_image(b, i, (8, 8), 3)) for i in range(len(a)))


# folders and zips


@pytest.mark.parametrize("inside", ["", "photos/", "a/b/"])
def test_zip_reads_like_its_folder(folder: Path, inside: str) -> None:
    plain, packed = ImageFolder(str(folder)).open(), ImageFolder(str(zipped(folder, inside))).open()
    assert packed.names == plain.names
    assert packed.class_names == plain.class_names == ["ash", "birch tree", "çédille"]
    assert packed.labels.tolist() == plain.labels.tolist()
    assert same_images(plain, packed)


def test_zip_is_read_by_threads_and_worker_processes(folder: Path) -> None:
    path = str(zipped(folder))
    held = ImageData(root=path, image_size=8, cache=False, workers=4)
    streamed = ImageData(root=path, image_size=8, memory_limit=0.0, workers=2, eval_batch_size=7)
    for data in (held, streamed):
        data.setup()
    everything = [torch.cat([batch.images for batch in data.predict_dataloader()]) for data in (held, streamed)]
    assert torch.equal(*everything)


def test_threads_read_a_zip_at_the_same_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kept = {f"{i}.png": rng.integers(0, 4, 2000, dtype=np.uint8).tobytes() for i in range(200)}
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in kept.items():
            member = zipfile.ZipInfo(name)
            member.extra = b"UX\x08\x00" + bytes(8)  # as Unix writes: Python 3.12 steps over it where another thread is
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    reader = ZipReader(tmp_path / "a.zip", list(kept))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(reader.read, range(200))) == list(kept.values())


def test_damaged_zips(folder: Path, tmp_path: Path) -> None:
    path = zipped(folder)
    content = bytearray(path.read_bytes())
    place = content.find(b"IDAT") + 20
    content[place : place + 10] = bytes(10)
    (tmp_path / "spoilt.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"image 'ash/img 0.png' cannot be read"):
        ImageData(root=str(tmp_path / "spoilt.zip"), image_size=8).setup()
    (tmp_path / "cut.zip").write_bytes(content[:200])
    with pytest.raises(UserError, match=r"neither a folder nor a .zip"):
        source_of_root(str(tmp_path / "cut.zip"))
    with pytest.raises(UserError, match="not a readable zip"):
        ImageFolder(str(tmp_path / "cut.zip")).open()


def test_train_and_test_folders_are_the_sources_own_split(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "parted"
    shutil.copytree(folder, root / "Train")
    shutil.copytree(folder, root / "test")
    samples = ImageFolder(str(root)).open()
    assert samples.class_names == ["ash", "birch tree", "çédille"]
    assert samples.parts == ["train"] * 36 + ["test"] * 36


def test_loops_of_links_hidden_files_and_odd_names(folder: Path) -> None:
    (folder / "ash" / "deep" / "er").mkdir(parents=True)
    shutil.copy(folder / "ash" / "img 1.png", folder / "ash" / "deep" / "er" / "ünï [1] 50%.PNG")
    (folder / "ash" / "deep" / "loop").symlink_to(folder / "ash")
    (folder / "self").symlink_to(folder)
    (folder / "ash" / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "ash" / ".hidden.png").write_bytes(b"x")
    (folder / "ash" / "notes.txt").write_text("x")
    (folder / ".git").mkdir()
    (folder / "stray.png").write_bytes(b"no class")
    samples = ImageFolder(str(folder)).open()
    assert len(samples) == 37
    assert "ash/deep/er/ünï [1] 50%.PNG" in samples.names


def test_links_to_folders_are_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").mkdir()
    for name in ("ash", "çédille"):
        (tmp_path / "linked" / name).symlink_to(folder / name)
    assert len(ImageFolder(str(tmp_path / "linked")).open()) == 24


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "no image in a class folder below"),
        (lambda root: (root / "a").mkdir(), "no image in a class folder below"),
        (lambda root: Image.new("RGB", (4, 4)).save(root / "x.png"), "no image in a class folder below"),
    ],
)
def test_empty_folders(tmp_path: Path, make, words: str) -> None:
    root = tmp_path / "empty"
    root.mkdir()
    make(root)
    with pytest.raises(UserError, match=words):
        ImageFolder(str(root)).open()


def test_one_class_only(folder: Path) -> None:
    shutil.rmtree(folder / "ash")
    shutil.rmtree(folder / "çédille")
    with pytest.raises(UserError, match="at least two classes"):
        ImageFolder(str(folder)).open()


def test_a_class_with_one_image_trains_and_fills_its_seats(folder: Path) -> None:
    (folder / "lone").mkdir()
    Image.new("RGB", (20, 20), "gold").save(folder / "lone" / "one.png")
    data = ImageData(root=str(folder), image_size=8, batch_size=8, classes_per_batch=4)
    data.setup()
    assert 3 in data.catalog.labels[data.parts.train]
    for batch in data.train_dataloader():
        assert torch.bincount(batch.labels).tolist() == [2, 2, 2, 2]


# manifests


def write_manifest(folder: Path, head: str, line) -> Path:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    path = folder / "table.csv"
    path.write_text("\n".join([head, *(line(i, name) for i, name in enumerate(names))]), encoding="utf-8-sig")
    return path


def test_manifest_with_every_column(folder: Path) -> None:
    path = write_manifest(
        folder,
        "label,path,split,is_query,is_reference,group,remark",
        lambda i, name: (
            f"{i % 3},{name},{['train', 'test', 'validation'][i % 3]},{i % 2},{'yes' if i % 2 else 'No'},{i // 6},x"
        ),
    )
    samples = Manifest(str(path)).open()
    assert samples.class_names == ["0", "1", "2"]
    assert samples.labels.tolist() == [i % 3 for i in range(36)]
    assert samples.parts[:3] == ["train", "test", "val"]
    assert samples.is_query.tolist() == samples.is_reference.tolist() == [bool(i % 2) for i in range(36)]
    assert len(np.unique(samples.groups)) == 6
    assert read_image(samples, 5, None, 3).shape[0] == 3


def test_manifest_trains_by_its_own_split(folder: Path) -> None:
    path = write_manifest(
        folder, "path,label,split", lambda i, name: f"{name},{name[0]},{'test' if i % 4 == 0 else ''}"
    )
    data = ImageData(root=str(path), image_size=8)
    data.setup()
    assert len(data.parts.test) == 9
    assert len(data.parts.val) == 3
    assert len(data.test_dataloader()) == 2


def test_queries_and_references_are_those_marked(folder: Path) -> None:
    path = write_manifest(
        folder,
        "path,label,split,is_query,is_reference",
        lambda i, name: f"{name},{i % 3},{'test' if i >= 18 else 'train'},{i % 2},{(i + 1) % 2}",
    )
    data = ImageData(root=str(path), image_size=8)
    data.setup()
    queries, references = (torch.cat([b.ids for b in loader]).tolist() for loader in data.test_dataloader())
    assert queries == list(range(19, 36, 2))
    assert references == list(range(18, 36, 2))


def test_numbers_as_labels_are_ordered_by_value_and_kept_apart(folder: Path) -> None:
    path = write_manifest(folder, "path,label", lambda i, name: f"{name},{['10', '9', '2'][i % 3]}")
    assert Manifest(str(path)).open().class_names == ["2", "9", "10"]


@pytest.mark.parametrize(
    ("head", "line", "words"),
    [
        ("file,label", "{name},a", r"no column 'path' \(found: file, label\): rename or add it"),
        ("path,class", "{name},a", "no column 'label'"),
        ("path,label", "{name},", "line 2: 'label' is empty"),
        ("path,label,split", "{name},{i},dev", "split 'dev' is not train, val or test"),
        ("path,label,is_query", "{name},{i},maybe", "neither true nor false"),
        ("path,label", "{name},a", "one class only"),
    ],
)
def test_manifests_to_mend(folder: Path, head: str, line: str, words: str) -> None:
    path = write_manifest(folder, head, lambda i, name: line.format(i=i, name=name))
    with pytest.raises(UserError, match=words):
        Manifest(str(path)).open()


def test_manifest_of_missing_files(folder: Path) -> None:
    path = write_manifest(folder, "path,label", lambda i, name: f"{name if i else 'gone.png'},{i % 2}")
    with pytest.raises(UserError, match=r"image 'gone.png' cannot be read"):
        ImageData(root=str(path), image_size=8).setup()
    data = ImageData(root=str(path), image_size=8, on_error="skip")
    data.setup()
    assert data.unreadable == [0]


def test_manifests_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("path,label\n")
    (tmp_path / "bytes.csv").write_bytes(b"path,label\n\xff\xfe\x00,a")
    with pytest.raises(UserError, match="has no rows"):
        Manifest(str(tmp_path / "empty.csv")).open()
    with pytest.raises(UserError, match="not a CSV in UTF-8"):
        Manifest(str(tmp_path / "bytes.csv")).open()


def test_parquet(folder: Path) -> None:
    path = write_manifest(folder, "path,label,is_query", lambda i, name: f"{name},{i % 2},true")
    if importlib.util.find_spec("pyarrow") is None:
        (folder / "table.parquet").write_bytes(b"")
        with pytest.raises(UserError, match="needs pyarrow: pip install pyarrow"):
            Manifest(str(folder / "table.parquet")).open()
        pytest.skip("pyarrow is not installed")
    import pyarrow.csv
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.csv.read_csv(path), folder / "table.parquet")
    samples = Manifest(str(folder / "table.parquet")).open()
    assert samples.names == Manifest(str(path)).open().names
    assert samples.is_query.all()


# arrays and datasets


def test_arrays_and_their_file(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (30, 6, 6, 3), dtype=np.uint8)
    labels = np.array(["x", "y", "z"] * 10)
    np.savez(tmp_path / "a.npz", pictures=images, labels=labels)
    for source in (Arrays(images, labels), ArrayFile(str(tmp_path / "a.npz"), images="pictures")):
        data = ImageData(source=source)
        data.setup()
        assert data.image_shape == (3, 6, 6)
        assert np.array_equal(data.thumbnails(torch.arange(30)).permute(0, 2, 3, 1).numpy(), images)
    with pytest.raises(UserError, match=r"no array 'images' \(found: pictures, labels\)"):
        ImageData(root=str(tmp_path / "a.npz")).setup()
    with pytest.raises(UserError, match="do not fit"):
        Arrays(images, labels[:5]).open()
    (tmp_path / "b.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="is not a NumPy archive"):
        ArrayFile(str(tmp_path / "b.npz")).open()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(9, 6, 6), (9, 6, 6, 1), (9, 6, 6, 3)])
def test_arrays_taken_whole_equal_arrays_read_one_by_one(shape, channels) -> None:
    images = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    samples = Arrays(images, np.arange(9) % 2).open()
    whole, _ = decode_all(samples, (6, 6), channels, workers=1, skip=False)
    assert whole.shape == (9, channels, 6, 6)
    for i in range(9):
        assert np.array_equal(whole[i], read_image(samples, i, (6, 6), channels))


class Pairs(Dataset):
    """A map-style dataset that gives PIL images and has no list of labels."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int):
        return Image.new("RGB", (6, 5), (index * 10, 0, 0)), ("even", "odd")[index % 2], "more"


def test_torch_datasets() -> None:
    samples = TorchDataset(Pairs()).open()
    assert samples.class_names == ["even", "odd"]
    assert read_image(samples, 7, None, 3)[:, 0, 0].tolist() == [70, 0, 0]
    train = TensorDataset(torch.rand(12, 1, 4, 4), torch.arange(12) % 3)
    data = ImageData(source=TorchDataset(train, test=train, channels=1))
    data.setup()
    assert len(data.parts.test) == 12
    assert data.class_names == ["0", "1", "2"]
    expected = (train.tensors[0] * 255).round().to(torch.uint8)
    assert torch.equal(data.thumbnails(torch.arange(12)), expected)


class Endless(IterableDataset):
    def __iter__(self):
        return iter([])


def test_torch_datasets_to_mend() -> None:
    with pytest.raises(UserError, match="has no length"):
        TorchDataset(Endless()).open()
    with pytest.raises(UserError, match=r"not \(image, label\) pairs"):
        TorchDataset(TensorDataset(torch.zeros(4, 1, 2, 2))).open()


def test_hugging_face(tmp_path: Path) -> None:
    if importlib.util.find_spec("datasets") is None:
        with pytest.raises(UserError, match="pip install datasets"):
            HuggingFace("x").open()
        pytest.skip("datasets is not installed")
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    images = [Image.new("RGB", (5, 5), (i * 9, 0, 0)) for i in range(12)]
    rows = datasets.Dataset.from_dict({"image": images, "label": [0, 1] * 6}, features=features)
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(str(tmp_path / "saved"))
    samples = HuggingFace(str(tmp_path / "saved")).open()
    assert samples.class_names == ["cat", "dog"]
    assert samples.parts == ["train"] * 12 + ["test"] * 12
    assert read_image(samples, 15, None, 3)[0, 0, 0] == 27


@pytest.mark.parametrize("kind", ["blobs", "rings", "moons", "spirals"])
def test_points_reach_the_batch_unrounded(kind) -> None:
    source = Points(kind, per_class=30, classes=2, noise=0.05)
    data = ImageData(source=source, split=StratifiedSplit(val=10, test=0))
    data.setup()
    batch = next(iter(data.predict_dataloader()))
    assert batch.images.shape == (60, 1, 1, 2)
    expected = torch.from_numpy(source.open().values) / 127.5 - 1
    torch.testing.assert_close(batch.images, expected, rtol=0, atol=1e-6)
    assert len(torch.unique(batch.images)) > 100
    assert data.thumbnails(batch.ids).dtype == torch.uint8
    with pytest.raises(UserError, match=r"leave data.image_size out"):
        ImageData(source=source, image_size=8).setup()
