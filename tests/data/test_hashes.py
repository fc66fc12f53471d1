"""Hashes of files: kept by path, size and time, and never trusted further than that."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from dml.data import ImageData, ImageFolder
from dml.data.images import open as images
from dml.data.sources import files
from dml.data.sources.hashes import STORE

LONG_AGO = time.time_ns() - 10**12


@pytest.fixture
def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files whose content is read."""
    for path in folder.rglob("*.png"):
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
    names: list[str] = []
    read = files.Folder.read
    monkeypatch.setattr(files.Folder, "read", lambda self, name: names.append(name) or read(self, name))
    return names


def by_hand(folder: Path) -> str:
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png")):
        content = hashlib.blake2b((folder / name).read_bytes(), digest_size=16).digest()
        total.update(name.encode() + b"\0" + content + b"\n")
    return total.hexdigest()


def test_only_what_has_changed_is_read_again(folder: Path, opened: list[str]) -> None:
    source = ImageFolder(str(folder))
    assert source.open().fingerprint == by_hand(folder)
    assert len(opened) == 36
    opened.clear()
    assert source.open().fingerprint == by_hand(folder)
    assert opened == []
    (folder / "ash" / "img 1.png").write_bytes(b"other")
    assert source.open().fingerprint == by_hand(folder)
    assert opened == ["ash/img 1.png"]
    assert source.open().fingerprint == by_hand(folder)
    assert opened == ["ash/img 1.png"] * 2  # written just now: it may be written again within the clock's tick


def test_a_time_that_has_changed_alone_is_enough(folder: Path, opened: list[str]) -> None:
    source, path = ImageFolder(str(folder)), folder / "ash" / "img 1.png"
    source.open()
    path.write_bytes(bytes(path.stat().st_size))
    os.utime(path, ns=(LONG_AGO + 1, LONG_AGO + 1))
    opened.clear()
    assert source.open().fingerprint == by_hand(folder)
    assert opened == ["ash/img 1.png"]


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be looked at" * 50, None])
def test_a_damaged_store_is_made_anew(folder: Path, opened: list[str], own_cache: Path, content: bytes | None) -> None:
    source = ImageFolder(str(folder))
    own_cache.mkdir()
    if content is None:
        (own_cache / STORE).mkdir()  # cannot be opened at all
    else:
        (own_cache / STORE).write_bytes(content)
    assert source.open().fingerprint == by_hand(folder)
    source.open()
    assert source.open().fingerprint == by_hand(folder)
    assert len(opened) == 36 * (3 if content is None else 2)


def test_missing_files_count_by_their_names(folder: Path, opened: list[str]) -> None:
    found = ImageFolder(str(folder)).find()
    whole = found.tree.fingerprint(found.files)
    (folder / "ash" / "img 1.png").unlink()
    assert found.tree.fingerprint(found.files) != whole


def test_unreadable_images_of_a_large_set_are_looked_for_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "ash" / "cut.png").write_bytes(b"x")
    keys = {"root": str(folder), "image_size": 8, "memory_limit": 0.0, "workers": 0, "on_error": "skip"}
    data = ImageData(**keys)
    data.setup()
    assert data.unreadable == [0]
    monkeypatch.setattr(images, "find_unreadable", lambda *_: pytest.fail("looked for again"))
    again = ImageData(**keys)
    again.setup()
    assert again.unreadable == [0]
