"""What is read of files that strangers made: how large, of which kinds, from where."""

import io
import os
import subprocess
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dml.data import ArrayFile, ImageData, ImageFolder, Manifest, TorchvisionSet
from dml.data.images.cache import read_cache
from dml.data.images.open import decode_cached
from dml.data.sources import bounds, readers
from dml.errors import UserError


def table(folder: Path, *names: str) -> Path:
    """Write a manifest of two good images and those named."""
    rows = [
        "path,label",
        "ash/img 0.png,a",
        "birch tree/img 0.png,b",
        *(f"{name},{'ab'[i % 2]}" for i, name in enumerate(names)),
    ]
    (folder / "t.csv").write_text("\n".join(rows))
    return folder / "t.csv"


def unreadable(root: Path) -> list[str]:
    data = ImageData(root=str(root), image_size=8, on_error="skip", cache=False)
    data.setup()
    return [data.catalog.names[i] for i in data.unreadable]


def test_three_gigabytes_named_png_are_not_read(folder):
    with (folder / "ash" / "large.png").open("wb") as file:
        file.write((folder / "ash" / "img 0.png").read_bytes())
        file.truncate(3 << 30)
    tracemalloc.start()
    with pytest.raises(UserError, match=r"image 'ash/large.png' .*\(3,221,225,472 bytes, more than 536,870,912\)"):
        ImageData(root=str(folder), image_size=8, cache=False).setup()
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


def test_members_of_a_zip_are_bounded_too(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_IMAGE_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
        archive.writestr("ash/bomb.png", bytes(1 << 20))
    with pytest.raises(UserError, match=r"image 'ash/bomb.png' cannot be read \(1,048,576 bytes, more than 10,000\)"):
        ImageData(root=str(tmp_path / "z.zip"), image_size=8).setup()
    assert unreadable(tmp_path / "z.zip") == ["ash/bomb.png"]


@pytest.mark.parametrize("damage", ["compressed", "checksum", "method", "name", "encrypted"])
def test_a_damaged_member_is_skipped(folder, tmp_path, damage):
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("img *.png")):
            archive.write(path, path.relative_to(folder))
    whole = bytearray((tmp_path / "z.zip").read_bytes())
    local = whole.find(b"ash/img 3.png")
    central = whole.rfind(b"ash/img 3.png") - 46
    if damage == "compressed":
        whole[local + 20 : local + 60] = b"\xff" * 40
    elif damage == "checksum":
        whole[central + 16] ^= 1
    elif damage == "method":
        whole[central + 10] = 99
    elif damage == "name":
        whole[local] = ord("X")
    else:
        whole[central + 8] |= 1
    (tmp_path / "z.zip").write_bytes(whole)
    assert unreadable(tmp_path / "z.zip") == ["ash/img 3.png"]
    with pytest.raises(UserError, match=r"image 'ash/img 3.png' cannot be read"):
        ImageData(root=str(tmp_path / "z.zip"), image_size=8).setup()


@pytest.mark.parametrize("place", ["fifo", "/dev/zero", "folder", "nul"])
@pytest.mark.timeout(20)
def test_pipes_devices_and_folders_are_no_images(folder, place):
    path = folder / "ash" / "odd.png"
    if place == "fifo":
        os.mkfifo(path)
    elif place == "folder":
        path.mkdir()
    elif place == "/dev/zero":
        path.symlink_to(place)
    assert unreadable(folder) == []  # a folder's own listing passes them over
    if place == "nul":
        with pytest.raises(UserError, match=r"t.csv' cannot be read \(a NUL byte in line 4\)"):
            Manifest(str(table(folder, "ash/a\0b.png"))).open()
        return
    if place == "/dev/zero":
        with pytest.raises(UserError, match="1 of 3 files lie outside"):
            Manifest(str(table(folder, "ash/odd.png"))).open()
    source = Manifest(str(table(folder, "ash/odd.png")), anywhere=True)
    with pytest.raises(UserError, match=r"image 'ash/odd.png' cannot be read \(not a regular file\)"):
        ImageData(source=source, image_size=8).setup()


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".zip", ".parquet", ""])
@pytest.mark.timeout(20)
def test_a_root_that_is_no_file(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"endless{suffix}").symlink_to("/dev/zero")
    for root in (tmp_path / f"pipe{suffix}", tmp_path / f"endless{suffix}", "x" * 5000 + suffix, f"a\0b{suffix}"):
        with pytest.raises(UserError) as told:
            ImageData(root=str(root)).setup()
        assert len(str(told.value).splitlines()) == 1


def test_manifests_stay_below_their_root(folder, tmp_path):
    (tmp_path / "out.png").write_bytes((folder / "ash" / "img 5.png").read_bytes())
    (folder / "link.png").symlink_to(tmp_path / "out.png")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "inside.png").symlink_to(folder / "ash" / "img 1.png")
    for name in ("../out.png", str(tmp_path / "out.png"), "ash/../../out.png", "link.png", "linked/out.png"):
        path = table(folder, "inside.png", name)
        with pytest.raises(UserError, match=r"1 of 4 files lie outside .*--data.source.anywhere true"):
            Manifest(str(path)).open()
        assert len(Manifest(str(path), anywhere=True).open()) == 4
    assert len(Manifest(str(table(folder, "inside.png"))).open()) == 3


@pytest.mark.parametrize("name", ["../ash/x.png", "/ash/x.png", "ash/../../x.png", "..\\ash\\x.png", "C:\\ash\\x.png"])
def test_zips_stay_below_their_root(folder, tmp_path, name):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
        archive.writestr(name, (folder / "ash" / "img 1.png").read_bytes())
    with pytest.raises(UserError, match=r"1 members have names that lead out of it.*anywhere to true"):
        ImageFolder(str(tmp_path / "z.zip")).open()
    assert len(ImageFolder(str(tmp_path / "z.zip"), anywhere=True).open()) >= 36


@pytest.mark.timeout(20)
def test_linked_folders_are_read_once(folder, caplog):
    for i in range(12):
        (folder / "ash" / f"d{i}").mkdir()
        for j in range(12):
            (folder / "ash" / f"d{i}" / f"l{j}").symlink_to(folder / "ash" / f"d{j}")
    (folder / "ash" / "top").symlink_to("/")
    (folder / "twin").symlink_to(folder / "birch tree")
    assert len(ImageFolder(str(folder)).open()) == 36
    assert "link(s) to folders that are read already passed over" in caplog.text


def test_a_file_of_another_format_starts_no_program(folder, monkeypatch):
    monkeypatch.setattr(subprocess, "check_call", lambda *args, **keys: pytest.fail("a program was started"))
    (folder / "ash" / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    assert unreadable(folder) == ["ash/script.png"]
    assert {"EPS", "WMF", "PDF", "PSD"}.isdisjoint(bounds.IMAGE_FORMATS)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'path,label\n"ash/img 0.png,a\n', "unexpected end of data"),
        (b"path,label\nash/img 0.png,a,b\n", "line 2: 3 cells for 2 columns"),
        (b"path,label,path\nx,a,y\n", "two columns 'path'"),
    ],
)
def test_tables_that_say_something_else(folder, content, told):
    (folder / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=told):
        Manifest(str(folder / "t.csv")).open()


def test_a_header_that_promises_more_than_there_is(tmp_path):
    for shape in ((10**13, 8, 8), (2**62, 4, 1), (-1, 8, 8)):
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        member = b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header.encode()
        with zipfile.ZipFile(tmp_path / "h.npz", "w") as archive:
            archive.writestr("images.npy", member)
            archive.writestr("labels.npy", member)
        with pytest.raises(UserError, match="is not a NumPy archive, or is damaged"):
            ArrayFile(str(tmp_path / "h.npz")).open()


@pytest.mark.parametrize(
    ("file", "at", "content", "told"),
    [
        ("train-labels-idx1-ubyte", 8, b"\x63", "labels 0 to 99 for 10 classes"),
        ("train-labels-idx1-ubyte", 4, (11).to_bytes(4, "big"), "MNIST"),
        ("train-images-idx3-ubyte", 8, (14).to_bytes(4, "big") + (56).to_bytes(4, "big"), "14×56 pixels, not 28×28"),
        ("train-images-idx3-ubyte", 0, b"\0\0\x08\x63", "MNIST in"),
        ("t10k-images-idx3-ubyte", 4, b"\x7f\xff\xff\xff", "MNIST"),
    ],
)
def test_altered_idx_files(tmp_path, file, at, content, told):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 12), ("t10k", 6)):
        head = b"".join(number.to_bytes(4, "big") for number in (2051, count, 28, 28))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + np.random.default_rng(0).bytes(count * 784))
        head = (2049).to_bytes(4, "big") + count.to_bytes(4, "big")
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(head + bytes(i % 3 for i in range(count)))
    TorchvisionSet("MNIST", str(tmp_path), download=False).open()
    whole = bytearray((raw / file).read_bytes())
    whole[at : at + len(content)] = content
    (raw / file).write_bytes(whole)
    with pytest.raises(UserError, match=told) as caught:
        TorchvisionSet("MNIST", str(tmp_path), download=False).open()
    assert len(str(caught.value).splitlines()) == 1


def test_a_cache_entry_with_one_byte_changed_is_made_anew(folder, own_cache):
    catalog = ImageFolder(str(folder)).open()
    images, _, _ = decode_cached(catalog, (8, 8), 3, 1, skip=False, cache=own_cache)
    (entry,) = own_cache.glob("*.npy")
    content = bytearray(entry.read_bytes())
    content[-1] ^= 1
    entry.write_bytes(content)
    assert read_cache(own_cache, entry.stem) is None
    again, _, _ = decode_cached(catalog, (8, 8), 3, 1, skip=False, cache=own_cache)
    assert np.array_equal(images, again)


def test_tiff_bombs_and_broken_streams_are_named(folder):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(buffer, "tiff", compression="tiff_deflate")
    content = bytearray(buffer.getvalue())
    content[10:20] = b"\xff" * 10
    (folder / "ash" / "x.tif").write_bytes(content)
    assert unreadable(folder) == ["ash/x.tif"]
