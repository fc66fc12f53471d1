import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from dml.data import Augmentation, ImageData, ImageFolder, StratifiedSplit
from dml.data.images import open as images
from dml.data.images.cache import read_cache, write_cache
from dml.data.images.read import decode_all
from dml.errors import UserError

SPLIT = StratifiedSplit(val=6, test=0)


def batches(root: Path, **keys) -> list[torch.Tensor]:
    data = ImageData(
        root=str(root), image_size=16, split=SPLIT, batch_size=10, transform=Augmentation(rotate=9, flip=0.5), **keys
    )
    data.setup()
    return [torch.cat([b.images for b in data.train_dataloader()]), *(b.images for b in data.val_dataloader()[0])]


@pytest.mark.parametrize("workers", [0, 2])
def test_memory_and_files_give_the_same_batches(folder: Path, workers: int) -> None:
    held = batches(folder, cache=False)
    decoded = batches(folder, memory_limit=0.0, workers=workers)
    for a, b in zip(held, decoded, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_files_on_the_large_path(folder: Path, workers: int) -> None:
    (folder / "ash" / "cut.png").write_bytes((folder / "ash" / "img 1.png").read_bytes()[:60])
    with pytest.raises(UserError, match=r"^image 'ash/cut.png' cannot be read .*skip$"):
        batches(folder, memory_limit=0.0, workers=workers)
    assert len(batches(folder, memory_limit=0.0, workers=workers, on_error="skip")[0]) == 30


def test_no_image_readable(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        path.write_bytes(b"x")
    with pytest.raises(UserError, match="none of the 36 images can be read"):
        batches(folder, on_error="skip")


def test_cache_is_keyed_by_content(folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = batches(folder)
    assert len(list(own_cache.glob("*.npy"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr("dml.data.images.open.decode_all", lambda *a: pytest.fail("decoded again"))
        moved = folder.rename(folder.parent / "elsewhere")
        assert torch.equal(first[0], batches(moved)[0])
    other = (moved / "ash" / "img 1.png").read_bytes()
    (moved / "ash" / "img 2.png").write_bytes(other)
    assert not torch.equal(first[0], batches(moved)[0])
    assert len(list(own_cache.glob("*.npy"))) == 2


def test_damaged_entry_is_made_anew(folder: Path, own_cache: Path) -> None:
    first = batches(folder)
    (entry,) = own_cache.glob("*.npy")
    entry.write_bytes(b"half")
    assert torch.equal(first[0], batches(folder)[0])
    assert read_cache(own_cache, entry.stem) is not None


def test_cache_that_cannot_be_written_only_warns(folder: Path, tmp_path: Path, caplog) -> None:
    (tmp_path / "file").write_text("")
    batches(folder, cache_dir=str(tmp_path / "file" / "below"))
    assert "set data.cache_dir" in caplog.text


def test_skipped_images_are_counted_in_the_log_and_in_the_cache(folder: Path, caplog) -> None:
    (folder / "ash" / "bad.png").write_bytes(b"")
    for _ in range(2):
        caplog.clear()
        batches(folder, on_error="skip")
        assert "1 unreadable image(s) left out: ash/bad.png" in caplog.text
    with pytest.raises(UserError, match=r"ash/bad.png"):
        batches(folder)


def _write(folder: Path, start) -> None:
    start.wait()
    images = np.full((50, 3, 32, 32), 7, np.uint8)
    for _ in range(20):
        write_cache(folder, "key", images, [])


def test_writers_side_by_side_leave_one_whole_entry(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    writers = [context.Process(target=_write, args=(tmp_path, start)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key.json", "key.npy"]
    found = read_cache(tmp_path, "key")
    assert found is not None
    assert (found[0] == 7).all()


def _open(folder: Path, start, decoded) -> None:
    def decode(catalog, *settings):
        with decoded.get_lock():
            decoded.value += 1
        time.sleep(1)  # the other process comes to the lock meanwhile
        return decode_all(catalog, *settings)

    images.decode_all = decode
    catalog = ImageFolder(str(folder)).open()
    start.wait()
    images.decode_cached(catalog, (16, 16), 3, 1, skip=False, cache=folder.parent / "decoded")


@pytest.mark.timeout(60)
def test_processes_that_start_together_decode_once(folder: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, decoded = context.Barrier(2), context.Value("i", 0)
    openers = [context.Process(target=_open, args=(folder, start, decoded)) for _ in range(2)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join()
        assert opener.exitcode == 0
    assert decoded.value == 1
    assert len(list((tmp_path / "decoded").glob("*.npy"))) == 1


def test_fingerprint_does_not_depend_on_the_place(folder: Path, tmp_path: Path) -> None:
    before = ImageFolder(str(folder)).open().fingerprint
    assert ImageFolder(str(folder.rename(tmp_path / "b"))).open().fingerprint == before
