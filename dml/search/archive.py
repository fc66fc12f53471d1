"""Writes `.npz` archives of any size block by block, whole or not at all, and maps their arrays into memory."""

import os
import struct
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dml import runs
from dml.errors import UserError, reason_of

_ALIGNED = 64  # bytes: where an array begins in the file
_DATE = (1980, 1, 1, 0, 0, 0)  # equal content gives equal bytes
_PIECE = 1 << 24  # bytes of an array written at once


@final
class ArchiveWriter:
    """Adds arrays to an archive that `writing` has opened."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._zip = file

    def add(self, name: str, array: Any) -> None:
        """Add a whole array; no object is pickled."""
        rows = np.asarray(array)
        step = max(1, _PIECE // max(1, rows[:1].nbytes))
        self.add_blocks(name, rows.dtype, rows.shape, (rows[at : at + step] for at in range(0, len(rows), step)))

    def add_blocks(self, name: str, dtype: DTypeLike, shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]) -> None:
        """Add an array given as blocks of rows, of which one is in memory at a time.

        Args:
            name: Of the array.
            dtype: Its type.
            shape: Of the whole.
            blocks: Together they have as many rows as `shape` says.

        Raises:
            ValueError: The array holds objects, or the blocks do not add up to the shape.
        """
        kind = np.dtype(dtype)
        if kind.hasobject:
            raise ValueError(f"the array {name!r} holds objects")
        info = zipfile.ZipInfo(f"{name}.npy", _DATE)
        info.external_attr = 0o644 << 16
        assert self._zip.fp is not None
        begin = self._zip.fp.tell() + 30 + len(info.filename) + 20 + 4  # headers: of a member, zip64, padding
        gap = -begin % _ALIGNED
        info.extra = struct.pack("<HH", 0x7061, gap) + bytes(gap)
        written = 0
        with self._zip.open(info, "w", force_zip64=True) as member:
            header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_2_0(member, header)
            for block in blocks:
                rows = np.ascontiguousarray(block, dtype=kind)
                if rows.shape[1:] != shape[1:]:
                    raise ValueError(f"a block of {name!r} has shape {rows.shape}, the whole {shape}")
                written += len(rows)
                member.write(rows.view(np.uint8).reshape(-1).data if rows.size else b"")
        if written != shape[0]:
            raise ValueError(f"{written} rows of {name!r} were given for {shape[0]}")


@contextmanager
def writing(path: Path) -> Iterator[ArchiveWriter]:
    """Open an archive for writing; it replaces `path` once it is complete and on the disk.

    Raises:
        UserError: The disk is full or the folder cannot be written; what was there stays as it was.

    Example:
        >>> file = Path(tempfile.mkdtemp()) / "rows.npz"
        >>> with writing(file) as archive:
        ...     archive.add_blocks("rows", np.float32, (3, 1), [np.ones((2, 1)), np.zeros((1, 1))])
        >>> Archive(file)["rows"].ravel()
        memmap([1., 1., 0.], dtype=float32)
    """
    temporary = None
    try:
        if os.path.exists(path) and not path.is_file():  # noqa: PTH110 - a device would be replaced by a file
            raise OSError(22, "not a regular file", str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                yield ArchiveWriter(archive)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path} ({reason_of(error)}): free some space or choose another place") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@final
class Archive(Mapping[str, NDArray[Any]]):
    """The arrays of an `.npz` archive by name, mapped from the file where they are stored plainly.

    Args:
        path: The file.
        verify: Whether the checksum of every array is compared first, which reads the file once.

    Raises:
        UserError: There is no such file, it is not an archive of arrays, is damaged, or holds pickled objects.
    """

    def __init__(self, path: Path, verify: bool = True) -> None:
        self.path = path
        with _reading(path), runs.open_file(path) as file, zipfile.ZipFile(file) as archive:
            self._members = {info.filename: info for info in archive.infolist()}
            if strange := [name for name in self._members if not name.endswith(".npy")]:
                raise ValueError(f"{strange[0]!r} in it is not an array")
            if verify and (spoilt := archive.testzip()):
                raise ValueError(f"the checksum of {spoilt} is wrong")
            self._size = os.fstat(file.fileno()).st_size

    def __getitem__(self, name: str) -> NDArray[Any]:
        info = self._members[f"{name}.npy"]
        if info.compress_type != zipfile.ZIP_STORED:
            with runs.open_archive(self.path) as arrays:
                packed: NDArray[Any] = arrays[name]
                return packed
        with _reading(self.path), runs.open_file(self.path) as file:
            file.seek(info.header_offset)
            head = file.read(30)
            if len(head) < 30 or head[:4] != b"PK\x03\x04":
                raise ValueError("its table of contents is wrong")
            file.seek(info.header_offset + 30 + sum(struct.unpack("<HH", head[26:30])))
            end = file.tell() + info.file_size
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)
            size = int(np.prod(shape, dtype=object)) * dtype.itemsize
            if dtype.hasobject or fortran or file.tell() + size != end or end > self._size:
                raise ValueError(f"its array {name!r} is not plain numbers or text of the stated size")
            if not size:
                return np.empty(shape, dtype)
            mapped: NDArray[Any] = np.memmap(self.path, dtype, "r", file.tell(), shape)
            return mapped

    def __iter__(self) -> Iterator[str]:
        return (name.removesuffix(".npy") for name in self._members)

    def __len__(self) -> int:
        return len(self._members)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"no file {path}: make it by `dml index` or `dml predict`, or give another") from error
    except UserError:
        raise
    except Exception as error:  # a damaged file fails in many ways
        told = f"{path} is not an archive of arrays, or is damaged ({reason_of(error)})"
        raise UserError(f"{told}: make it again with `dml predict` or `dml index`") from error
