"""Writes image files into one table in Lance's format, resuming where an earlier attempt was stopped."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from datetime import timedelta
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

from filelock import FileLock, Timeout

from dml.data.images.batch import usable_cores
from dml.data.images.read import bar
from dml.data.sources.files import FoundFiles
from dml.data.sources.hashes import UNREADABLE
from dml.data.sources.lance import BEGUN, FINISHED, import_lance, is_address, open_table, unreachable
from dml.errors import UserError, printable, reason_of

LISTING = b"dml.listing"  # in the schema: a hash of what is converted
_READ = 128  # files read at a time
_COMMITTED = 2**27  # bytes after which what was written is safe
Progress = Callable[[int], AbstractContextManager[Callable[..., None]]]


class Converted(NamedTuple):
    """How many images a table holds now, how many of them it held before, and which files could not be read."""

    images: int
    before: int
    unreadable: list[str]


def convert_files(
    found: FoundFiles,
    to: str,
    on_error: Literal["raise", "skip"] = "raise",
    committed: int = _COMMITTED,
    progress: Progress = lambda total: bar(total, "converting"),
) -> Converted:
    """Write the images of a folder, zip or manifest, byte by byte as they are, into a Lance table.

    The table's rows stand in the order of the source, so splits and batches are those of the source. What was written
    by an attempt that was stopped stays and is gone on from; a table that is complete is left as it is.

    Args:
        found: what `ImageFolder.find` or `Manifest.find` returns.
        to: the table, a local folder `NAME.lance` or an address.
        on_error: "raise" at the first file that cannot be read; "skip": its row holds no image, which training then
            leaves out by `data.on_error=skip`.
        committed: bytes after which what was written is safe.
        progress: makes a progress bar of a number of images.

    Raises:
        UserError: a file cannot be read, `to` holds something else, its store cannot be reached, the disk is full, or
            another process writes there.
    """
    lance = import_lance()
    place = to if is_address(to) else str(Path(to).expanduser())
    with ExitStack() as stack:
        if not is_address(to):
            stack.enter_context(_alone(Path(place)))
        schema = _schema(found)
        table = _begun(lance, place, to, schema)
        if FINISHED in table.config():
            return Converted(table.count_rows(), table.count_rows(), [])
        before = table.count_rows()
        rows = _Rows(found, before, on_error, schema)
        step = stack.enter_context(progress(len(found.files) - before))
        while rows.left:
            try:
                lance.write_dataset(rows.reader(committed, step), place, mode="append")
            except Exception as error:  # stores fail in many ways
                raise (rows.failed or unreachable(to, error, "written")) from error
            if rows.failed is not None:
                raise rows.failed
        table = open_table(place)
        try:
            table.update_config({FINISHED: "true"})
        except Exception as error:  # stores fail in many ways
            raise unreachable(to, error, "written") from error
        with suppress(Exception):  # it may not be allowed, and costs nothing but space
            table.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)  # what stopped attempts left
    return Converted(len(found.files), before, rows.unreadable)


def _alone(place: Path) -> AbstractContextManager[object]:
    """Hold the place against other processes."""
    if not place.parent.is_dir():
        raise UserError(f"no folder '{place.parent}': make it, or give another place")
    lock = FileLock(place.with_name(f".{place.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another process writes '{place}': wait for it, or give another place") from None
    return lock


def _schema(found: FoundFiles) -> Any:
    """Return the table's columns, and what tells that a table was begun from just these images."""
    arrow: Any = import_module("pyarrow")

    columns = {"name": arrow.string(), "label": arrow.string(), "image": arrow.large_binary(), "hash": arrow.binary()}
    catalog = found.catalog
    if catalog.parts:
        columns["part"] = arrow.string()
    if catalog.groups is not None:
        columns["group"] = arrow.int64()
    columns |= {name: arrow.bool_() for name in ("is_query", "is_reference") if getattr(catalog, name) is not None}
    listing = hashlib.blake2b(digest_size=16)
    for name, label in zip(catalog.names, catalog.labels.tolist(), strict=True):
        try:
            listing.update(f"{name}\t{catalog.class_names[label]}\n".encode())
        except UnicodeEncodeError:
            raise UserError(f"the name of '{printable(name)}' is not UTF-8, which a table needs: rename it") from None
    about = {BEGUN: str(len(catalog)), LISTING: listing.hexdigest()}
    return arrow.schema(list(columns.items()), metadata=about)


def _begun(lance: Any, place: str, to: str, schema: Any) -> Any:
    """Open the table, or begin it."""
    exists = is_address(to) or Path(place).exists()
    if exists:
        try:
            table = open_table(place)
        except UserError as error:
            if not str(error).startswith("no Lance data set") or (not is_address(to) and any(Path(place).iterdir())):
                raise UserError(f"'{to}' exists but is not a Lance data set: give another place") from error
        else:
            if (table.schema.metadata or {}).get(LISTING) != schema.metadata[LISTING]:
                raise UserError(f"'{to}' holds other images: give another place, or remove it")
            return table
    try:
        return lance.write_dataset(schema.empty_table(), place, schema=schema, mode="create")
    except Exception as error:  # stores fail in many ways
        raise unreachable(to, error, "written") from error


class _Rows:
    """Reads files and makes rows of them, from a given position; records what went wrong."""

    def __init__(self, found: FoundFiles, start: int, on_error: Literal["raise", "skip"], schema: Any) -> None:
        self._found = found
        self._reader = found.tree.reader(found.files)
        self._at = start
        self._on_error = on_error
        self._schema = schema
        self.unreadable: list[str] = []
        self.failed: UserError | None = None

    @property
    def left(self) -> bool:
        """Whether there are more."""
        return self._at < len(self._found.files)

    def reader(self, most: int, step: Callable[..., None]) -> Any:
        """Return a reader of batches of about so many bytes together."""
        arrow: Any = import_module("pyarrow")

        batches = self._batches(most, step)
        try:
            first = [next(batches)]
        except StopIteration:
            first = []
        return arrow.RecordBatchReader.from_batches(self._schema, chain(first, batches))

    def _batches(self, most: int, step: Callable[..., None]) -> Iterator[Any]:
        written = 0
        with ThreadPoolExecutor(min(8, usable_cores())) as pool:
            while self.left and written < most:
                places = range(self._at, min(self._at + _READ, len(self._found.files)))
                contents: list[bytes | None] = []
                for place, content in zip(places, pool.map(self._read, places), strict=True):
                    if not isinstance(content, bytes):
                        name = self._found.catalog.names[place]
                        if self._on_error == "raise":
                            told = f"image '{name}' cannot be read ({reason_of(content)})"
                            self.failed = UserError(f"{told}: fix or remove it, or add --on_error skip")
                            break
                        self.unreadable.append(name)
                    contents.append(content if isinstance(content, bytes) else None)
                if contents:
                    written += sum(len(content or b"") for content in contents)
                    self._at += len(contents)
                    step(len(contents))
                    yield self._batch(places[: len(contents)], contents)
                if self.failed is not None:
                    return

    def _read(self, place: int) -> bytes | OSError:
        try:
            return self._reader.read(place)
        except OSError as error:
            return error

    def _batch(self, places: Sequence[int], contents: list[bytes | None]) -> Any:
        arrow: Any = import_module("pyarrow")

        catalog = self._found.catalog
        hashes = [UNREADABLE if each is None else hashlib.blake2b(each, digest_size=16).digest() for each in contents]
        columns: dict[str, Any] = {
            "name": [catalog.names[i] for i in places],
            "label": [catalog.class_names[catalog.labels[i]] for i in places],
            "image": contents,
            "hash": hashes,
            "part": [catalog.parts[i] for i in places] if catalog.parts else None,
        }
        for name, known in (
            ("group", catalog.groups),
            ("is_query", catalog.is_query),
            ("is_reference", catalog.is_reference),
        ):
            columns[name] = None if known is None else known[list(places)]
        return arrow.record_batch({name: columns[name] for name in self._schema.names}, schema=self._schema)
