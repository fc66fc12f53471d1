"""Brings a store in a database up to date with images or files of embeddings, as `update_store` does a file."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dml.embeddings import unit_rows
from dml.errors import UserError, printable
from dml.search.inventory import Inventory, as_images
from dml.search.journal import Embedder, Images, Journal, Maker, Progress, held_store, no_progress
from dml.search.names import chosen
from dml.search.remote.client import Client, State, Writing, open_client, read_state
from dml.search.store import EXACT, About, Row, Store
from dml.search.update import Change, check_belongs, merge, with_ids

_GATHER = 4096  # rows copied at once


def update_remote(
    url: str,
    maker: Maker,
    embedder: Embedder | None = None,
    listings: Sequence[Images] = (),
    stores: Sequence[Store] = (),
    factory: str | None = None,
    calibration: dict[str, Any] | None = None,
    progress: Progress = no_progress,
) -> Change:
    """Put images and files of embeddings into a store in a database, whole or not at all; what is there already stays.

    Images are embedded first, into a folder of the run from which the next call resumes if this one is interrupted.
    A row of a file replaces the one with its name if the image has changed.

    Args:
        url: The store's address; created if it is missing.
        maker: Whose embeddings they are.
        embedder: Turns images into rows; None if there are no listings.
        listings: Images.
        stores: Files of `dml index` or `dml predict`.
        factory: `Flat`, or `HNSW` and a number of links for the store's own approximate index; None: as it is.
        calibration: The run's, as `dml.search.calibration.as_record` gives it; None: that of a file that is copied, or
            what the store keeps.
        progress: Shows how far the embedding is.

    Raises:
        UserError: The store cannot be reached, is of other weights or another metric or size, or another process
            has changed it meanwhile.
    """
    with closing(open_client(url)) as client:
        return _update(client, maker, embedder, listings, stores, factory, calibration, progress)


def _update(
    client: Client,
    maker: Maker,
    embedder: Embedder | None,
    listings: Sequence[Images],
    stores: Sequence[Store],
    factory: str | None,
    calibration: dict[str, Any] | None,
    progress: Progress,
) -> Change:
    before = read_state(client)
    for about, path in [(store.about, str(store.path)) for store in stores]:
        check_belongs(about, maker, path)
    if before is not None:
        check_belongs(before.about, maker, client.shown)
    wanted = _check_factory(factory or (EXACT if before is None else before.about.factory))
    images = [*listings, *(part for store in stores for part in as_images(store))]
    listed = {
        (listing.root, name): (at, place)
        for at, listing in reversed(list(enumerate(images)))
        for place, name in enumerate(listing.names)
    }
    old = Inventory(client, before, [*dict.fromkeys(listing.root for listing in images)])
    mark = hashlib.blake2b(client.shown.encode(), digest_size=8).hexdigest()
    place = maker.folder / f"to-{mark}"
    with held_store(place) if listings else nullcontext():
        embedded, begun, failures = list[Store](), 0, list[tuple[str, str]]()
        if listings and embedder is not None:
            journal = Journal(place, embedder)
            begun = len(journal.stores)
            mine = {key: where for key, where in listed.items() if where[0] < len(listings)}
            failures = journal.fill(listings, mine, [old, *stores], progress)
            embedded = journal.stores
        sources = [*stores, *embedded]
        rows, origin = merge(old, stores, embedded, images, listed, True)
        if before is None and not rows:
            first = f"'{failures[0][0]}' ({failures[0][1]})" if failures else "nothing was given"
            raise UserError(f"none of {len(listed)} images can be read, first {first}: give image files")
        next_id = 0 if before is None else before.about.next_id
        if before is None and len(stores) == 1 and not listings:
            next_id = stores[0].about.next_id  # a copy has the ids of the file
        else:
            rows, next_id = with_ids(rows, old, next_id)
        fresh = np.flatnonzero(origin[:, 0] > 0)
        kept = [calibration, *(store.about.calibration for store in stores), before and before.about.calibration]
        said = About(
            weights=maker.weights,
            metric=maker.metric,
            run=str(maker.folder.resolve()),
            image_shape=tuple(maker.image_shape),
            factory=wanted,
            next_id=next_id,
            calibration=next((record for record in kept if record), None),
        )
        writing = _plan(client, said, before, old, rows, origin, sources)
        if before is None or len(fresh) or writing.labels or writing.after.about != before.about:
            client.write(writing)
    shards = origin[fresh, 0] - 1 - len(stores)
    resumed = int(np.count_nonzero((shards >= 0) & (shards < begun)))
    taken = int(np.count_nonzero(shards < 0))
    total = writing.after.num_rows
    done = len(fresh) - taken - resumed
    return Change(total, done, total - len(fresh), 0, writing.after.dim, failures, taken, (), resumed)


def remove_remote(url: str, patterns: Sequence[str]) -> int:
    """Remove images from a store in a database and return how many.

    Args:
        url: Its address.
        patterns: As of `remove_images`.

    Raises:
        UserError: A pattern matches nothing, nothing would be left, or the store cannot be reached.
    """
    with closing(open_client(url)) as client:
        return _remove(client, patterns)


def _remove(client: Client, patterns: Sequence[str]) -> int:
    before = read_state(client)
    if before is None:
        raise UserError(f"no index at {client.shown}: make one with `dml index RUN --to ADDRESS`")
    old = Inventory(client, before, None)
    gone = chosen(old.keys(), patterns, client.shown)
    if gone.all():
        raise UserError(f"{client.shown} would be empty: drop the table or collection instead")
    roots = tuple(dict.fromkeys(row.root for row, away in zip(old.held, gone, strict=True) if not away))
    after = before._replace(end=before.end + 1, about=replace(before.about, roots=roots))
    client.write(Writing(before, after, [], iter(()), old.positions[gone], {}))
    return int(gone.sum())


def _plan(
    client: Client,
    said: About,
    before: State | None,
    old: Inventory,
    rows: list[Row],
    origin: NDArray[np.int64],
    sources: Sequence[Store],
) -> Writing:
    """Return what to write: source 0 of `origin` is what is there, the others are `sources`."""
    fresh = np.flatnonzero(origin[:, 0] > 0)
    sizes = {source.dim for source in sources} | ({before.dim} if before is not None else set())
    if len(sizes) != 1:
        raise UserError(f"{client.shown}: embeddings of {sorted(sizes)} numbers cannot be one index")
    new = [_sendable(rows[at]) for at in fresh.tolist()]
    replaced = {(row.root, row.name) for row in new}
    gone = old.positions[[at for at, key in enumerate(old.keys()) if key in replaced]]
    labels = {
        int(old.positions[at]): row.label
        for row, (source, at) in zip(rows, origin.tolist(), strict=True)
        if not source and row.label != old.held[at].label
    }
    known = () if before is None else before.about.roots
    about = replace(said, roots=tuple(dict.fromkeys([*known, *(row.root for row in new)])))
    end, count = (0, 0) if before is None else (before.end, before.num_rows)
    after = State(about, sizes.pop(), max(end + len(new), end + 1), count + len(new) - len(gone))

    def blocks() -> Iterator[NDArray[np.float32]]:
        for low in range(0, len(fresh), _GATHER):
            part = origin[fresh[low : low + _GATHER]]
            block = np.stack([sources[source - 1].embeddings[at] for source, at in part.tolist()])
            yield unit_rows(block) if said.metric == "cosine" else block

    return Writing(before, after, new, blocks(), gone, labels)


def _check_factory(factory: str) -> str:
    links = re.fullmatch(r"HNSW(\d{1,3})", factory)
    if factory != EXACT and not (links and 2 <= int(links[1]) <= 100):
        raise UserError(f"--factory {factory}: a store in a database has {EXACT} (exact) or HNSW2 to HNSW100")
    return factory


def _sendable(row: Row) -> Row:
    for text in (row.root, row.name, row.label):
        if "\0" in text or (not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)):
            raise UserError(
                f"image '{printable(row.name)}': a store in a database cannot hold names that are not UTF-8; rename it"
            )
    return row
