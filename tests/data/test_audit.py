import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from dml.data import ImageData, ImageFolder, OfficialSplit
from dml.data.audit import audit_data


def photograph(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)).resize((90, 80), Image.Resampling.BICUBIC)


def build(root: Path) -> ImageData:
    for part, start in (("train", 0), ("val", 20), ("test", 40)):
        for i in range(start, start + 6):
            path = root / part / ("cat" if i % 2 else "dog") / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            photograph(i).save(path)
    return ImageData(source=ImageFolder(str(root)), image_size=48, split=OfficialSplit(), on_error="skip")


def test_clean_data(tmp_path: Path) -> None:
    found = audit_data(build(tmp_path / "a"))
    assert found.images == {"train": 6, "val": 6, "test": 6}
    assert found.class_counts == {"cat": (3, 3, 3), "dog": (3, 3, 3)}
    assert found.leaks == 0
    assert not found.lone_classes + found.unreadable + found.contradictions


def test_everything_wrong_is_found(tmp_path: Path) -> None:
    data = build(tmp_path / "a")
    root = tmp_path / "a"
    shutil.copy(root / "train" / "cat" / "1.png", root / "test" / "cat" / "copy.png")
    photograph(2).resize((60, 54)).save(root / "val" / "dog" / "smaller.jpg", quality=80)
    ImageEnhance.Brightness(photograph(4)).enhance(0.8).save(root / "test" / "dog" / "darker.png")
    shutil.copy(root / "train" / "dog" / "0.png", root / "train" / "cat" / "other name.png")
    (root / "train" / "emu").mkdir()
    photograph(99).save(root / "train" / "emu" / "one.png")
    (root / "train" / "cat" / "bad.png").write_bytes(b"")
    found = audit_data(data)
    assert found.exact == [("test/cat/copy.png", "train/cat/1.png")]
    assert sorted(found.near) == [
        ("test/dog/darker.png", "train/dog/4.png"),
        ("train/dog/2.png", "val/dog/smaller.jpg"),
    ]
    assert found.contradictions == [("train/cat/other name.png", "train/dog/0.png")]
    assert found.lone_classes == ["emu"]
    assert found.unreadable == ["train/cat/bad.png"]
    assert found.leaks == 3


def test_blank_images_are_no_likeness(tmp_path: Path) -> None:
    data = build(tmp_path / "a")
    for part, value in (("train", 10), ("test", 200)):
        Image.new("RGB", (48, 48), (value, value, value)).save(tmp_path / "a" / part / "cat" / "blank.png")
    assert audit_data(data).leaks == 0
