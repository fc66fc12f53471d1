"""Embeddings as a Parquet table, for other tools: written from a store and read back, some row groups at a time."""

import importlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dml.embeddings import EmbeddingSet
from dml.errors import UserError, reason_of
from dml.search.journal import Embedder, Images, Progress, no_progress, partial_folder
from dml.search.store import About, Row, Store, read_about, write_store
from dml.search.update import Change, update_store

_GROUP = 8192  # rows held at once
_ABOUT = b"dml"


def update_parquet(
    path: Path,
    embedder: Embedder,
    listings: Sequence[Images],
    keep: bool = True,
    progress: Progress = no_progress,
) -> Change:
    """Bring a Parquet table up to date as `update_store` does a store: only what is new or changed is embedded.

    Raises:
        UserError: As `update_store`; or pyarrow is not installed.
    """
    _pyarrow(path)
    store = path.parent / f".{path.name}.npz"  # beside it while it is made; an interrupted call goes on from it
    if path.exists() and not (store.exists() or partial_folder(store).exists()):
        _to_store(path, store)
    change = update_store(store, embedder, listings, keep, progress=progress)
    _to_parquet(Store(store, verify=False), path)
    store.unlink()
    return change


def read_parquet(path: Path) -> EmbeddingSet:
    """Read a table that `dml predict` wrote.

    Raises:
        UserError: There is no such file, it holds something else, or pyarrow is not installed.
    """
    blocks, rows = [], []
    for block, known in _read(path)[1]:
        blocks.append(block)
        rows += known
    classes = {name: at for at, name in enumerate(sorted({row.label for row in rows}))}
    labels = np.array([classes[row.label] for row in rows])
    names = np.array([row.name for row in rows])
    return EmbeddingSet(np.concatenate(blocks), labels, np.array([row.id for row in rows]), names, list(classes))


def _to_parquet(store: Store, path: Path) -> None:
    arrow, parquet = _pyarrow(path)
    fields = [("name", arrow.string()), ("label", arrow.string()), ("id", arrow.int64())]
    fields += [("height", arrow.int32()), ("width", arrow.int32())]
    fields += [("embedding", arrow.list_(arrow.float32(), store.dim)), ("root", arrow.string())]
    schema = arrow.schema([*fields, ("stamp", arrow.string())]).with_metadata({_ABOUT: json.dumps(asdict(store.about))})
    temporary = path.parent / f".{path.name}.part"
    try:
        with parquet.ParquetWriter(temporary, schema) as writer:
            for start in range(0, len(store), _GROUP):
                rows = [store.row(at) for at in range(start, min(start + _GROUP, len(store)))]
                flat = arrow.array(np.asarray(store.embeddings[start : start + _GROUP]).ravel())
                columns: list[Any] = [
                    [row.name for row in rows],
                    [row.label for row in rows],
                    [row.id for row in rows],
                    [row.size[0] for row in rows],
                    [row.size[1] for row in rows],
                    arrow.FixedSizeListArray.from_arrays(flat, store.dim),
                    [row.root for row in rows],
                    [row.stamp for row in rows],
                ]
                writer.write_table(arrow.table(columns, schema=schema))
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path} ({reason_of(error)}): free some space or choose another place") from error
    finally:
        temporary.unlink(missing_ok=True)


def _to_store(path: Path, store: Path) -> None:
    """Write a table as a store, in two passes: a store's names come before its embeddings."""
    about, blocks = _read(path)
    rows: list[Row] = []
    dim = 1
    for block, known in blocks:
        rows += known
        dim = block.shape[1]
    write_store(store, about, rows, (block for block, _ in _read(path)[1]), dim)


def _read(path: Path) -> tuple[About, Iterator[tuple[Any, list[Row]]]]:
    _, parquet = _pyarrow(path)
    foreign = f"{path} is not a table of `dml predict`"
    try:
        file = parquet.ParquetFile(path)
        said = (file.schema_arrow.metadata or {}).get(_ABOUT)
    except FileNotFoundError as error:
        raise UserError(f"no file {path}: make it by `dml index` or `dml predict`, or give another") from error
    except Exception as error:  # a damaged file fails in many ways
        raise UserError(f"{foreign}, or is damaged ({reason_of(error)}): choose another --output") from error
    if said is None or not file.metadata.num_rows:
        raise UserError(f"{foreign}: choose another --output")
    return read_about(said, foreign), _blocks(file, foreign)


def _blocks(file: Any, foreign: str) -> Iterator[tuple[Any, list[Row]]]:
    for batch in file.iter_batches(_GROUP):
        try:
            column = batch.column("embedding")
            block = column.flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1).astype(np.float32)
            sizes = zip(batch.column("height").to_pylist(), batch.column("width").to_pylist(), strict=True)
            texts = (batch.column(name).to_pylist() for name in ("root", "name", "label", "stamp"))
            ids = batch.column("id").to_pylist()
            rows = [Row(*known) for known in zip(*texts, sizes, ids, strict=True)]
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{foreign} ({reason_of(error)}): choose another --output") from error
        yield block, rows


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise UserError(f"writing {path} needs pyarrow: pip install pyarrow, or choose a .npz file") from None
