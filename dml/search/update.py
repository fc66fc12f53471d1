"""Brings a store up to date with images: embeds only what is new or changed, and resumes an interrupted call."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dml.errors import UserError
from dml.search.journal import Embedder, Images, Journal, KnownRows, Maker, Progress, held_store, no_progress
from dml.search.names import Key, chosen
from dml.search.store import EXACT, About, Row, Store, write_store
from dml.search.structure import Measured, encode

_GATHER = 4096  # rows copied at once


class Change(NamedTuple):
    """What a call did: rows there are now, embedded, kept, gone, taken over; what cannot be read; recall and cost.

    `resumed` counts what an interrupted call had embedded.
    """

    total: int
    embedded: int
    reused: int
    removed: int
    dim: int
    failures: list[tuple[str, str]]
    taken: int = 0
    measured: Sequence[Measured] = ()
    resumed: int = 0


def update_store(
    path: Path,
    embedder: Embedder,
    listings: Sequence[Images],
    keep: bool = True,
    factory: str | None = None,
    stores: Sequence[Store] = (),
    progress: Progress = no_progress,
    calibration: dict[str, Any] | None = None,
) -> Change:
    """Embed those images that are not in a store yet, or have changed since, and rewrite the store atomically.

    Embeddings go to disk every 2,048 images, into a folder next to the store from which the next call resumes if this
    one is interrupted. Images that cannot be read are left out and reported.

    Args:
        path: The store; created if it is missing.
        embedder: Turns images into rows; of the store's own weights.
        listings: Images; one that is in two of them is embedded once.
        keep: Whether images of the store that no listing names stay in it.
        factory: FAISS factory string of the search structure; None: that of the store, the exact search in a new one.
        stores: Files of `dml predict` whose rows are taken over as they are.
        progress: Shows how far it is.
        calibration: The run's, as `dml.search.calibration.as_record` gives it; None: what the store keeps.

    Raises:
        UserError: The store is of other weights, another process writes it, the disk is full, or there is no image.
    """
    with held_store(path):
        old = Store(path) if path.exists() else None
        for store in [*stores, *([] if old is None else [old])]:
            check_belongs(store.about, embedder, store.path)
        journal = Journal(path, embedder)
        begun, first_shard = len(journal.stores), len(stores) + (old is not None)
        listed = {
            (listing.root, name): (at, place)
            for at, listing in enumerate(listings)
            for place, name in enumerate(listing.names)
        }
        failures = journal.fill(listings, listed, [*stores, *([] if old is None else [old])], progress)
        sources = [*([] if old is None else [old]), *stores, *journal.stores]
        rows, origin = merge(old, stores, journal.stores, listings, listed, keep)
        if not rows:
            first = f"'{failures[0][0]}' ({failures[0][1]})" if failures else "nothing was given"
            raise UserError(f"none of {len(listed)} images can be read, first {first}: give image files")
        reused_ids = 0 if old is None else old.about.next_id
        rows, next_id = with_ids(rows, old, reused_ids)
        kept_rows = 0 if old is None else int(np.count_nonzero(origin[:, 0] == 0))
        about = About(
            weights=embedder.weights,
            metric=embedder.metric,
            run=str(embedder.folder.resolve()),
            image_shape=tuple(embedder.image_shape),
            factory=factory or (EXACT if old is None else old.about.factory),
            next_id=next_id,
            calibration=calibration or (None if old is None else old.about.calibration),
        )
        dim = sources[origin[0, 0]].dim
        measured: list[Measured] = []
        told = about.factory, about.calibration
        if old is None or told != (old.about.factory, old.about.calibration) or not _is_same(old, rows, origin):
            measured = _write(path, about, rows, origin, sources, dim, old)
    removed = 0 if old is None else len({*old.keys()} - {(row.root, row.name) for row in rows})
    taken = _taken(origin, old, stores)
    resumed = int(np.count_nonzero((origin[:, 0] >= first_shard) & (origin[:, 0] < first_shard + begun)))
    embedded = len(rows) - kept_rows - taken - resumed
    return Change(len(rows), embedded, kept_rows, removed, dim, failures, taken, measured, resumed)


def remove_images(path: Path, patterns: Sequence[str]) -> int:
    """Remove images from a store and return how many; nothing is embedded.

    Args:
        path: The store.
        patterns: Names as the store has them, or with `*` and `?`; a folder stands for all below it; a root for all of
            it.

    Raises:
        UserError: A pattern matches nothing, nothing would be left, or the store cannot be read or written.
    """
    with held_store(path):
        old = Store(path)
        gone = chosen(old.keys(), patterns, path)
        left = np.flatnonzero(~gone)
        if not len(left):
            raise UserError(f"{path} would be empty: remove the file instead")
        origin = np.stack([np.zeros_like(left), left], axis=1)
        rows = old.rows(left)
        _write(path, old.about, rows, origin, [old], old.dim, old)
    return int(gone.sum())


def check_belongs(about: About, embedder: Maker, path: Path | str) -> None:
    """Refuse a store that another encoder has made, or another checkpoint of it.

    Raises:
        UserError: Weights or metric differ.
    """
    if about.metric != embedder.metric:
        told = f"{path} is in metric {about.metric}, run {embedder.folder} in {embedder.metric}"
        raise UserError(f"{told}: they do not belong together; make the index again with this run")
    if about.weights != embedder.weights:
        told = f"{path} was made by other weights (of {about.run or 'an unknown run'}) than those of {embedder.folder}"
        raise UserError(f"{told}: give its own run, or another file")


def merge(
    old: KnownRows | None,
    stores: Sequence[Store],
    journal: Sequence[Store],
    listings: Sequence[Images],
    listed: dict[Key, tuple[int, int]],
    keep: bool,
) -> tuple[list[Row], NDArray[np.int64]]:
    """Return the rows of the new store, and (N,2) the source and the row in it of each one's embedding.

    Sources are the old store, others taken over, then the journal's; rows of the old one come first, in their order.
    """
    sources: list[KnownRows] = [*([] if old is None else [old]), *stores, *journal]
    places: dict[Key, tuple[int, int]] = {}
    for number, store in enumerate(sources):
        whole = store in stores or (keep and store is old)
        for at, (key, stamp) in enumerate(zip(store.keys(), store.stamps.tolist(), strict=True)):
            where = listed.get(key)
            if where is None:
                if whole:
                    places.setdefault(key, (number, at))
            elif stamp == listings[where[0]].stamps[where[1]]:
                places.setdefault(key, (number, at))
    order = sorted(places.items(), key=lambda item: item[1])
    if not keep:
        order = [(key, places[key]) for key in listed if key in places]
    origin = np.array([place for _, place in order], np.int64).reshape(-1, 2)
    found: dict[int, Iterator[Row]] = {
        number: iter(source.rows(origin[origin[:, 0] == number, 1])) for number, source in enumerate(sources)
    }
    rows = []
    for key, (number, _) in order:
        row = next(found[number])
        if key in listed:
            listing, place = listings[listed[key][0]], listed[key][1]
            row = row if row.label == listing.labels[place] else row._replace(label=listing.labels[place])
        rows.append(row)
    return rows, origin


def with_ids(rows: list[Row], old: KnownRows | None, next_id: int) -> tuple[list[Row], int]:
    """Give rows their ids: an image keeps its own, new ones get the next."""
    known = {} if old is None else dict(zip(old.keys(), old.ids.tolist(), strict=True))
    numbered = []
    for row in rows:
        own = known.get((row.root, row.name))
        number = next_id if own is None else own
        numbered.append(row if row.id == number else row._replace(id=number))
        next_id += own is None
    return numbered, next_id


def _is_same(old: Store, rows: list[Row], origin: NDArray[np.int64]) -> bool:
    """Tell whether the rows are those of the old store, in their order."""
    same = len(rows) == len(old) and not origin[:, 0].any() and bool((origin[:, 1] == np.arange(len(old))).all())
    return same and all(row.label == old.class_names[at] for row, at in zip(rows, old.labels.tolist(), strict=True))


def _taken(origin: NDArray[np.int64], old: Store | None, stores: Sequence[Store]) -> int:
    first = 0 if old is None else 1
    return int(np.count_nonzero((origin[:, 0] >= first) & (origin[:, 0] < first + len(stores))))


def _write(
    path: Path,
    about: About,
    rows: list[Row],
    origin: NDArray[np.int64],
    sources: Sequence[Store],
    dim: int,
    old: Store | None,
) -> list[Measured]:
    """Write a store whose embeddings lie in several others, with its search structure."""
    if {store.dim for store in sources} != {dim}:
        raise UserError(f"{path}: embeddings of {sorted({store.dim for store in sources})} numbers cannot be one index")

    def blocks(start: int = 0) -> Iterator[NDArray[np.float32]]:
        for low in range(start, len(rows), _GATHER):
            part = origin[low : low + _GATHER]
            block = np.empty((len(part), dim), np.float32)
            for number in np.unique(part[:, 0]):
                mine = part[:, 0] == number
                block[mine] = sources[number].embeddings[part[mine, 1]]
            yield block

    codes, measured = encode(about, len(rows), dim, blocks, old, origin)
    write_store(path, about, rows, blocks(), dim, codes)
    return measured
