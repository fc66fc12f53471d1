"""The field's datasets, in small fixtures of their original layouts, and in the real files where they are at hand."""

import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from scipy.io import savemat

from dml.data import (
    CUB200,
    Cars196,
    ImageData,
    InShop,
    Omniglot,
    OmniglotRuns,
    StanfordOnlineProducts,
    TorchvisionSet,
)
from dml.errors import UserError


def picture(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 10), (value % 256, 0, 0)).save(path)


def check_protocol(source, classes: tuple[int, int]) -> ImageData:
    data = ImageData(source=source, image_size=8)
    data.setup()
    labels = data.catalog.labels
    train = np.concatenate([data.parts.train, data.parts.val])
    assert (len(np.unique(labels[train])), len(np.unique(labels[data.parts.test]))) == classes
    assert data.parts.class_disjoint
    return data


def test_cub(tmp_path: Path) -> None:
    root = tmp_path / "CUB_200_2011"
    ids = [(1, "001.Auk", 1), (2, "001.Auk", 1), (3, "002.Bee", 2), (4, "002.Bee", 2), (5, "100.Cat", 100)]
    ids += [(6, "101.Doe", 101), (7, "101.Doe", 101), (8, "200.Elk", 200)]
    for number, folder, _ in ids:
        picture(root / "images" / folder / f"{number}.jpg", number)
    (root / "images.txt").write_text("".join(f"{n} {folder}/{n}.jpg\n" for n, folder, _ in ids))
    (root / "image_class_labels.txt").write_text("".join(f"{n} {label}\n" for n, _, label in ids))
    names = {label: folder for _, folder, label in ids}
    (root / "classes.txt").write_text("".join(f"{label} {name}\n" for label, name in names.items()))
    for place in (root, tmp_path):
        data = check_protocol(CUB200(str(place)), (3, 2))
    assert data.class_names == ["001.Auk", "002.Bee", "100.Cat", "101.Doe", "200.Elk"]
    assert len(data.test_dataloader()) == 1


def test_images_may_lie_on_another_disk(tmp_path: Path) -> None:
    test_cub(tmp_path)
    images = tmp_path / "CUB_200_2011" / "images"
    images.rename(tmp_path / "elsewhere")
    images.symlink_to(tmp_path / "elsewhere")
    assert len(CUB200(str(tmp_path / "CUB_200_2011")).open())


def test_cars(tmp_path: Path) -> None:
    classes = [1, 1, 98, 98, 99, 99, 196]
    rows = []
    for i, label in enumerate(classes):
        picture(tmp_path / "car_ims" / f"{i:06d}.jpg", i)
        rows.append((f"car_ims/{i:06d}.jpg", 1, 2, 3, 4, label, 0))
    kinds = [("relative_im_path", "O"), *((key, "O") for key in ("x1", "y1", "x2", "y2", "class", "test"))]
    names = np.array([f"Car {i}" for i in range(1, 197)], dtype=object)
    savemat(tmp_path / "cars_annos.mat", {"annotations": np.array(rows, dtype=kinds), "class_names": names})
    data = check_protocol(Cars196(str(tmp_path)), (2, 2))
    assert data.class_names == ["001 Car 1", "098 Car 98", "099 Car 99", "196 Car 196"]


def test_stanford_online_products(tmp_path: Path) -> None:
    root = tmp_path / "Stanford_Online_Products"
    for file, classes in (("Ebay_train.txt", [1, 1, 2, 2, 3]), ("Ebay_test.txt", [4, 4, 5])):
        lines = ["image_id class_id super_class_id path"]
        for i, label in enumerate(classes):
            path = f"bicycle_final/{file[5:7]}{i}.JPG"
            picture(root / path, i)
            lines.append(f"{i} {label} 1 {path}")
        (root / file).write_text("\n".join(lines))
    check_protocol(StanfordOnlineProducts(str(tmp_path)), (3, 2))


def test_in_shop_has_queries_and_gallery(tmp_path: Path) -> None:
    roles = ["train", "train", "train", "train", "query", "gallery", "query", "gallery", "gallery"]
    items = [1, 1, 2, 2, 3, 3, 4, 4, 4]
    lines = [str(len(roles)), "image_name item_id evaluation_status"]
    for i, (role, item) in enumerate(zip(roles, items, strict=True)):
        picture(tmp_path / "Img" / "img" / f"{i}.jpg", i)
        lines.append(f"img/{i}.jpg id_{item:08d} {role}")
    (tmp_path / "Eval").mkdir()
    (tmp_path / "Eval" / "list_eval_partition.txt").write_text("\n".join(lines))
    data = check_protocol(InShop(str(tmp_path)), (2, 2))
    queries, references = (np.concatenate([b.ids for b in loader]).tolist() for loader in data.test_dataloader())
    assert queries == [4, 6]
    assert references == [5, 7, 8]


def draw_alphabets(root: Path, alphabets: list[str]) -> Path:
    for a, alphabet in enumerate(alphabets):
        for c in range(1, 4):
            for i in range(4):
                picture(root / alphabet / f"character{c:02d}" / f"{a}{c}_{i}.png", 10 * c + i)
    return root


def test_omniglot_folder_zip_and_unseen_alphabets(tmp_path: Path) -> None:
    background = draw_alphabets(tmp_path / "images_background_small1", ["Greek", "Latin"])
    unseen = draw_alphabets(tmp_path / "images_background_small2", ["Tifinagh"])
    packed = tmp_path / "small2.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in unseen.rglob("*.png"):
            archive.write(file, file.relative_to(tmp_path))
    alone = Omniglot(str(background)).open()
    assert alone.class_names[0] == "Greek/character01"
    assert (len(alone.class_names), len(alone), alone.channels) == (6, 24, 1)
    assert np.bincount(alone.groups).tolist() == [12, 12]
    data = check_protocol(Omniglot(str(background), test=str(packed)), (6, 3))
    assert data.image_shape == (1, 8, 8)
    assert len(np.unique(data.catalog.groups)) == 3
    with pytest.raises(UserError, match="must be unseen"):
        Omniglot(str(background), test=str(background)).open()
    with pytest.raises(UserError, match=r"expected ALPHABET/characterNN/IMAGE.png"):
        Omniglot(str(tmp_path / "images_background_small1" / "Greek" / "character01")).open()


def test_omniglot_one_shot_runs(tmp_path: Path) -> None:
    for run in ("run01", "run02"):
        lines = []
        for i in range(1, 4):
            picture(tmp_path / "all_runs" / run / "training" / f"class{i:02d}.png", i)
            picture(tmp_path / "all_runs" / run / "test" / f"item{i:02d}.png", i)
            lines.append(f"{run}/test/item{i:02d}.png {run}/training/class{4 - i:02d}.png")
        (tmp_path / "all_runs" / run / "class_labels.txt").write_text("\n".join(lines))
    data = ImageData(source=OmniglotRuns(str(tmp_path)), image_size=8)
    data.setup("test")
    assert data.num_classes == 6
    queries, references = data.test_dataloader()
    asked = {data.catalog.names[i]: int(label) for b in queries for i, label in zip(b.ids, b.labels, strict=True)}
    found = {data.catalog.names[i]: int(label) for b in references for i, label in zip(b.ids, b.labels, strict=True)}
    assert len(asked) == len(found) == 6
    assert asked["all_runs/run02/test/item01.png"] == found["all_runs/run02/training/class03.png"]
    with pytest.raises(UserError, match="no training images"):
        data.train_dataloader()
    (tmp_path / "all_runs" / "run01" / "test" / "item02.png").unlink()
    with pytest.raises(UserError, match="does not name two files of the run"):
        OmniglotRuns(str(tmp_path)).open()


def write_mnist(root: Path, name: str, counts: tuple[int, int]) -> None:
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for prefix, count in zip(("train", "t10k"), counts, strict=True):
        images = np.arange(count, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + images.tobytes())
        labels = (np.arange(count) % 10).astype(np.uint8)
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_torchvision_mnist(tmp_path: Path, name) -> None:
    write_mnist(tmp_path, name, (40, 20))
    data = ImageData(source=TorchvisionSet(name, str(tmp_path), download=False))
    data.setup()
    assert data.image_shape == (1, 28, 28)
    assert len(data.parts.test) == 20
    assert data.class_names == getattr(torchvision.datasets, name).classes
    assert data.catalog.labels[40 + 13] == 3
    assert (data.thumbnails(torch.tensor([7])) == 7).all()


def test_torchvision_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *args: True)
    root = tmp_path / "cifar-10-batches-py"
    root.mkdir()
    for batch in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        pixels = (np.arange(20 * 3072) % 251).reshape(20, 3072).astype(np.uint8)
        content = {"data": pixels, "labels": [i % 10 for i in range(20)]}
        (root / batch).write_bytes(pickle.dumps(content))
    names = [f"thing{i}" for i in range(10)]
    (root / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    data = ImageData(source=TorchvisionSet("CIFAR10", str(tmp_path), download=False))
    data.setup()
    assert data.image_shape == (3, 32, 32)
    assert data.class_names == names
    assert len(data.parts.test) == 20


def test_torchvision_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.SVHN, "_check_integrity", lambda self: True)
    for part, value in (("train", 30), ("test", 60)):
        images = np.full((32, 32, 3, 20), value, np.uint8)
        images[0, :, 0] = 200  # the first row of the red channel
        savemat(tmp_path / f"{part}_32x32.mat", {"X": images, "y": (np.arange(20) % 10 + 1)[:, None]})
    data = ImageData(source=TorchvisionSet("SVHN", str(tmp_path), download=False))
    data.setup()
    assert data.num_classes == 10
    first = data.thumbnails(torch.tensor([0, 25]))
    assert (first[0, 0, 0] == 200).all()
    assert first[1, 2].min() == first[1, 2].max() == 60


def test_torchvision_flowers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.Flowers102, "_check_integrity", lambda self: True)
    root = tmp_path / "flowers-102"
    for i in range(1, 13):
        picture(root / "jpg" / f"image_{i:05d}.jpg", i)
    savemat(root / "imagelabels.mat", {"labels": np.arange(12) % 3 + 1})
    ids = {"trnid": np.arange(1, 5), "valid": np.arange(5, 9), "tstid": np.arange(9, 13)}
    savemat(root / "setid.mat", ids)
    samples = TorchvisionSet("Flowers102", str(tmp_path), download=False).open()
    assert samples.parts == ["train"] * 4 + ["val"] * 4 + ["test"] * 4
    assert samples.fingerprint
    assert len(set(samples.labels)) == 3


def test_torchvision_aircraft(tmp_path: Path) -> None:
    data = tmp_path / "fgvc-aircraft-2013b" / "data"
    names = ["A300", "B747"]
    for part, start in (("train", 0), ("val", 4), ("test", 8)):
        for i in range(start, start + 4):
            picture(data / "images" / f"{i:07d}.jpg", i)
        lines = [f"{i:07d} {names[i % 2]}" for i in range(start, start + 4)]
        (data / f"images_variant_{part}.txt").write_text("\n".join(lines))
    (data / "variants.txt").write_text("\n".join(names))
    samples = TorchvisionSet("FGVCAircraft", str(tmp_path), download=False).open()
    assert samples.class_names == names
    assert len(samples) == 12


def test_torchvision_omniglot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.Omniglot, "_check_integrity", lambda self: True)
    draw_alphabets(tmp_path / "omniglot-py" / "images_background", ["Greek"])
    draw_alphabets(tmp_path / "omniglot-py" / "images_evaluation", ["Tengwar"])
    check_protocol(TorchvisionSet("Omniglot", str(tmp_path), download=False), (3, 3))


@pytest.mark.parametrize(
    "name", ["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100", "SVHN", "Flowers102", "FGVCAircraft", "Omniglot"]
)
def test_missing_files_are_named_in_one_line(tmp_path: Path, name) -> None:
    with pytest.raises(UserError, match=rf"^{name} is not in '.*': put .* there$"):
        TorchvisionSet(name, str(tmp_path), download=False).open()


def test_a_failed_download_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args, **keys):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(UserError, match=r"the download failed\): put MNIST/raw"):
        TorchvisionSet("MNIST", str(tmp_path)).open()


def test_real_mnist(real_data: Path) -> None:
    data = ImageData(source=TorchvisionSet("MNIST", str(real_data / "mnist"), download=False))
    data.setup()
    assert (len(data.parts.train) + len(data.parts.val), len(data.parts.test)) == (60_000, 10_000)


def test_real_omniglot_small_sets(real_data: Path) -> None:
    small = [str(real_data / "omniglot" / f"images_background_small{i}.zip") for i in (1, 2)]
    sets = [Omniglot(path).open() for path in small]
    assert [len(samples.class_names) * 20 for samples in sets] == [len(samples) for samples in sets]
    assert [len(np.unique(samples.groups)) for samples in sets] == [5, 5]


def test_real_flowers(real_data: Path) -> None:
    data = ImageData(root=str(real_data / "flowers12" / "train"), image_size=64)
    data.setup()
    assert (len(data.catalog), data.num_classes, data.image_shape) == (720, 12, (3, 64, 64))
