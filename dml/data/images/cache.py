"""Keeps decoded images on disk, keyed by content.

An entry's files appear under their names complete or not at all, and writers of one key write the same, so any number
of them side by side cannot spoil it.
"""

import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from dml import runs

FORM = 1  # raise it when decoding changes: old entries are then never read again


def cache_folder(folder: str | None) -> Path:
    """Choose where decoded images are kept: the folder given, $DML_CACHE, or ~/.cache/dml."""
    return Path(folder).expanduser() if folder else runs.user_cache()


def cache_key(fingerprint: str, size: tuple[int, int], channels: int) -> str:
    """Name an entry: the hash of the content and of everything that decoding depends on.

    Example:
        >>> cache_key("abc", (64, 64), 3) == cache_key("abc", (64, 32), 3)
        False
    """
    return hashlib.sha256(f"{FORM} {fingerprint} {size} {channels}".encode()).hexdigest()[:32]


def entry_file(folder: Path, key: str) -> Path:
    """Return the file of an entry's images."""
    return folder / f"{key}.npy"


def read_cache(folder: Path, key: str) -> tuple[NDArray[np.uint8], list[int]] | None:
    """Read an entry.

    Returns:
        uint8 (N, C, H, W), mapped copy-on-write so that processes share its memory, and the positions of unreadable
        images; None where the entry is missing or damaged, or of another form.
    """
    try:
        for end in ("npy", "json"):
            runs.open_file(folder / f"{key}.{end}").close()
        about = json.loads((folder / f"{key}.json").read_text())
        images = map_images(entry_file(folder, key))
        whole = images.dtype == np.uint8 and images.ndim == 4 and checksum(images) == about["checksum"]
        unreadable = [int(position) for position in about["unreadable"] if 0 <= position < len(images)]
    except Exception:  # a damaged entry fails in many ways; it is made anew
        return None
    return (images, unreadable) if whole else None


def map_images(file: Path) -> NDArray[np.uint8]:
    """Map the images of an entry, uint8 (N, C, H, W), copy-on-write: processes that do share its memory."""
    images: NDArray[np.uint8] = np.load(file, mmap_mode="c", allow_pickle=False)
    return images


def checksum(images: NDArray[np.uint8]) -> int:
    """Sum up all bytes of images (N, …), some images at a time.

    Example:
        >>> checksum(np.zeros((2, 3), np.uint8)) == checksum(np.zeros((3, 2), np.uint8))
        True
    """
    total = 0
    step = max(1, 2**24 // max(1, images[:1].nbytes))
    for start in range(0, len(images), step):
        total = zlib.crc32(np.ascontiguousarray(images[start : start + step]).data, total)
    return total


def write_cache(folder: Path, key: str, images: NDArray[np.uint8], unreadable: list[int]) -> None:
    """Write an entry, whole or not at all.

    Raises:
        OSError: no room or no right to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = {"unreadable": unreadable, "checksum": checksum(images)}
    replace_file(folder / f"{key}.json", lambda file: file.write(json.dumps(about).encode()))
    replace_file(entry_file(folder, key), lambda file: np.save(file, images))


def read_unreadable(folder: Path, key: str, total: int) -> list[int] | None:
    """Return the positions of unreadable images of a set that memory does not hold; None where nobody has looked."""
    try:
        about = json.loads(runs.read_bytes(folder / f"{key}.unreadable.json"))
        found = [int(position) for position in about["unreadable"]]
    except Exception:  # missing, or damaged in one of many ways
        return None
    return found if all(0 <= position < total for position in found) else None


def write_unreadable(folder: Path, key: str, unreadable: list[int]) -> None:
    """Keep the positions of unreadable images.

    Raises:
        OSError: no room or no right to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(
        folder / f"{key}.unreadable.json", lambda file: file.write(json.dumps({"unreadable": unreadable}).encode())
    )


def lock_entry(folder: Path, key: str) -> AbstractContextManager[object]:
    """Lock an entry against other processes; whoever comes second waits. The system frees a dead process's lock.

    Raises:
        OSError: no right to write, or no locks on this file system.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{key}.lock")


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under another name first; it takes its place when it is safely on disk."""
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
