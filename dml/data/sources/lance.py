"""A table of images in Lance's format, on disk or in a bucket, read by row."""

import hashlib
import importlib
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from dml.data.catalog import Catalog, Part, Raw, Source, index_labels
from dml.data.sources.bounds import MAX_IMAGE_BYTES, open_image
from dml.data.sources.files import fold
from dml.data.sources.manifest import PARTS
from dml.data.texts import Texts
from dml.errors import UserError, reason_of

BEGUN, FINISHED = b"dml.images", "dml.finished"  # in the schema: how many images there will be; in the configuration
_CACHES = {"metadata_cache_size_bytes": 2**26, "index_cache_size_bytes": 2**23}  # else they may take gigabytes


def import_lance() -> Any:
    """Import Lance, which only its users need.

    Raises:
        UserError: it is not installed.
    """
    try:
        lance: Any = importlib.import_module("lance")
    except ModuleNotFoundError as error:
        raise UserError("a .lance data set needs an extra: pip install pylance (or dml[lance])") from error
    # processes forked for other sources never touch it
    warnings.filterwarnings("ignore", message="lance is not fork-safe", category=UserWarning)
    return lance


def is_address(root: str) -> bool:
    """Tell whether a root is an address (`s3://…`) rather than a path.

    Example:
        >>> is_address("s3://photos/all.lance"), is_address("C:/photos.lance")
        (True, False)
    """
    return re.match(r"[a-z][a-z0-9+]+://", root) is not None


def open_table(root: str, storage_options: Mapping[str, str] | None = None) -> Any:
    """Open a Lance data set.

    Raises:
        UserError: there is none, or its store cannot be reached.

    Example:
        >>> import pytest
        >>> _ = pytest.importorskip("lance")
        >>> open_table("no/such/place.lance")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no Lance data set 'no/such/place.lance': give one that `dml convert` has written
    """
    lance = import_lance()
    place = root if is_address(root) else str(Path(root).expanduser())
    missing = f"no Lance data set '{root}': give one that `dml convert` has written"
    if not is_address(root) and not Path(place).is_dir():
        raise UserError(missing)
    try:
        return lance.dataset(place, storage_options=dict(storage_options or {}) or None, **_CACHES)
    except Exception as error:  # stores fail in many ways
        if "was not found" in str(error):
            raise UserError(missing) from error
        raise unreachable(root, error) from error


def unreachable(root: str, error: Exception, what: str = "read") -> UserError:
    """Return the error for a store that does not answer, or a damaged table."""
    reason = re.split(r", /\S+\.rs:\d+", reason_of(error))[0].removeprefix("LanceError(IO): ")
    mend = "address, network and credentials" if is_address(root) else "the folder and the space on the disk"
    return UserError(f"data set '{root}' cannot be {what} ({reason}): check {mend}")


class Lance(Source):
    """A table of images in Lance's format: a local folder, or an address (`s3://`, `gs://`, `az://`).

    `dml convert` writes one: columns `name`, `label`, `image` (the bytes of a file), and `part`, `group`, `is_query`,
    `is_reference` where the images had them. Any other Lance table with a column of image files and one of labels does
    as well. Images are read by row, a batch in one request, so nothing but names and labels lies in memory. Needs the
    extra `dml[lance]`; credentials are taken from the environment, as the store's own tools do.

    Args:
        root: the folder or address.
        image: the column of images, each the bytes of a file.
        label: the column of labels, names or whole numbers.
        channels: 1 (grey) or 3 (RGB).
        storage_options: of the store, such as {"endpoint": "http://localhost:9000", "allow_http": "true"}.

    Raises:
        UserError: on `open`, where there is no such table or column, the store cannot be reached, or its conversion was
            stopped half-way.

    Example:
        >>> source = Lance("s3://photos/all.lance")
    """

    def __init__(
        self,
        root: str,
        image: str = "image",
        label: str = "label",
        channels: Literal[1, 3] = 3,
        storage_options: dict[str, str] | None = None,
    ) -> None:
        self.root = root
        self.image = image
        self.label = label
        self.channels: Literal[1, 3] = channels
        self.storage_options = storage_options

    def open(self) -> Catalog:
        """Read all columns but the images."""
        table = open_table(self.root, self.storage_options)
        self._check(table)
        known = [name for name in ("name", "part", "group", "is_query", "is_reference", "hash") if name in self._names]
        try:
            columns = table.to_table(columns=[self.label, *known]).combine_chunks()
        except Exception as error:  # stores fail in many ways
            raise unreachable(self.root, error) from error
        labels, class_names = _labels(columns[self.label], self.root, self.label)
        names = Texts(_one(columns["name"])) if "name" in known else [f"row {i}" for i in range(len(labels))]
        return Catalog(
            labels=labels,
            class_names=class_names,
            names=names,
            reader=LanceReader(table, self.root, self.image, self.storage_options),
            channels=self.channels,
            fingerprint=_fingerprint(table, columns, names),
            parts=_parts(columns["part"]) if "part" in known else [],
            groups=columns["group"].to_numpy().astype(np.int64) if "group" in known else None,
            is_query=_flags(columns, "is_query"),
            is_reference=_flags(columns, "is_reference"),
        )

    def _check(self, table: Any) -> None:
        self._names = table.schema.names
        for column, key in ((self.image, "image"), (self.label, "label")):
            if column not in self._names:
                raise UserError(
                    f"'{self.root}' has no column '{column}' (found: {', '.join(self._names)}): "
                    f"name it in data.source.{key}"
                )
        kind = str(table.schema.field(self.image).type)
        if kind not in ("binary", "large_binary"):
            raise UserError(f"column '{self.image}' of '{self.root}' holds {kind}: give the bytes of image files")
        expected = (table.schema.metadata or {}).get(BEGUN)
        if expected is not None and FINISHED not in table.config():
            told = f"'{self.root}' holds {table.count_rows():,} of {int(expected):,} images, its conversion was stopped"
            raise UserError(f"{told}: run the same `dml convert` again, it continues from there")


def _labels(column: Any, root: str, name: str) -> tuple[NDArray[np.int64], list[str]]:
    if column.null_count:
        raise UserError(f"'{root}': {column.null_count} rows have no '{name}': fill it in or remove them")
    coded = _one(column.dictionary_encode())
    labels, class_names = index_labels([str(each) for each in coded.dictionary.to_pylist()])
    return labels[coded.indices.to_numpy(zero_copy_only=False)], class_names


def _parts(column: Any) -> list[Part]:
    coded = _one(column.dictionary_encode(null_encoding="encode"))
    known: list[Part] = [PARTS.get(str(each or "").lower(), "") for each in coded.dictionary.to_pylist()]
    parts = [known[code] for code in coded.indices.to_pylist()]
    return parts if any(known) else []


def _flags(columns: Any, name: str) -> NDArray[np.bool_] | None:
    return columns[name].to_numpy().astype(np.bool_) if name in columns.column_names else None


def _one(column: Any) -> Any:
    """Return a chunked column as one array."""
    whole = column.combine_chunks()
    return whole if not hasattr(whole, "num_chunks") else whole.chunk(0)


def _fingerprint(table: Any, columns: Any, names: Sequence[str]) -> str:
    """Hash what identifies every image's content: the hashes that `dml convert` kept, else the table's version."""
    if "hash" in columns.column_names and isinstance(names, Texts) and not columns["hash"].null_count:
        return fold(names, columns["hash"].to_pylist())
    made = f"{table.uri} {table.version} {table.versions()[-1]['timestamp']}"
    return hashlib.blake2b(made.encode(), digest_size=16).hexdigest()


@final
class LanceReader:
    """Reads images by row; threads share it.

    Args:
        table: the Lance data set.
        root: where it is, for messages.
        column: of images.
        storage_options: by which another process opens the same table.
    """

    def __init__(self, table: Any, root: str, column: str, storage_options: Mapping[str, str] | None = None) -> None:
        self.table = table
        self.root = root
        self.column = column
        self.storage_options = storage_options

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.root, self.column, self.storage_options, self.table.version)

    def __call__(self, index: int) -> Raw:
        """Read row `index`; its pixels are decoded when asked for."""
        [found] = self.read_rows([index])
        if isinstance(found, Exception):
            raise found
        return found

    def read_rows(self, positions: Sequence[int]) -> list[Raw | Exception]:
        """Read rows in the order given, in one request.

        Raises:
            UserError: the table cannot be read.
        """
        try:
            column = self.table.take([int(i) for i in positions], columns=[self.column])[self.column]
        except Exception as error:  # stores fail in many ways
            raise unreachable(self.root, error) from error
        return [_opened(content) for content in column.to_pylist()]


def _reopened(root: str, column: str, storage_options: Mapping[str, str] | None, version: int) -> LanceReader:
    return LanceReader(open_table(root, storage_options).checkout_version(version), root, column, storage_options)


def _opened(content: bytes | None) -> Raw | Exception:
    if not content:
        return OSError("the row holds no image")
    if len(content) > MAX_IMAGE_BYTES:
        return OSError(f"{len(content):,} bytes, more than {MAX_IMAGE_BYTES:,}")
    try:
        return open_image(content)
    except Exception as error:  # a damaged image fails in many ways
        return error
