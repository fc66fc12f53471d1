"""Keeps on disk what an update of a store has embedded so far: an interrupted call resumes from it."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from dml import runs
from dml.errors import UserError
from dml.search.names import Key
from dml.search.store import About, Row, Store, write_store

_SHARD = 2048  # images embedded before they are put on the disk


class Images(Protocol):
    """The protocol of `dml.data.sources.listing.Listing`."""

    @property
    def root(self) -> str:
        """Folder or zip."""
        ...

    @property
    def names(self) -> list[str]:
        """Paths below it."""
        ...

    @property
    def labels(self) -> list[str]:
        """Names of classes, "" without one."""
        ...

    @property
    def stamps(self) -> list[str]:
        """Texts that change with a file."""
        ...


class Maker(Protocol):
    """What made embeddings: the run, its weights and metric, or what a store says of them."""

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        ...

    @property
    def weights(self) -> str:
        """A hash of the checkpoint and of how images are scaled."""
        ...

    @property
    def metric(self) -> str:
        """`l2` or `cosine`."""
        ...

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W) images are brought to."""
        ...


class Embedder(Maker, Protocol):
    """The protocol of `dml.search.embedder.RunEmbedder`."""

    def embed(self, listing: Any, positions: NDArray[np.int64]) -> Iterator[Any]:
        """Yield batches of `positions`, `embeddings`, `sizes` and `failures`."""
        ...


class KnownRows(Protocol):
    """Rows that are embedded already, here or elsewhere."""

    @property
    def ids(self) -> NDArray[Any]:
        """(N,)."""
        ...

    @property
    def stamps(self) -> NDArray[Any]:
        """(N,) texts."""
        ...

    def keys(self) -> list[Key]:
        """Return root and name of every row."""
        ...

    def rows(self, positions: NDArray[np.int64]) -> list[Row]:
        """Return what is known about rows (n,)."""
        ...


Progress = Callable[[int], AbstractContextManager[Callable[[], None]]]  # of `dml.data.images.read.bar`


def no_progress(total: int) -> AbstractContextManager[Callable[[], None]]:
    """Show nothing."""
    return nullcontext(lambda: None)


def partial_folder(path: Path) -> Path:
    """Return the folder in which an interrupted call leaves what it has embedded.

    Example:
        >>> partial_folder(Path("photos.npz")).as_posix()
        '.photos.npz.partial'
    """
    return path.parent / f".{path.name}.partial"


@contextmanager
def held_store(path: Path) -> Iterator[None]:
    """Hold a store against other writers; the folder for this is removed if nothing is left in it to resume from."""
    folder = partial_folder(path)
    try:
        with runs.held(folder, f"another process writes {path}: wait for it"):
            yield
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        if folder.is_dir() and not any(folder.glob("[0-9]*.npz")):
            shutil.rmtree(folder, ignore_errors=True)


@final
class Journal:
    """What an interrupted call has already embedded: small stores in a folder next to the one to be written."""

    def __init__(self, path: Path, embedder: Embedder) -> None:
        self.folder = partial_folder(path)
        self.embedder = embedder
        self.stores: list[Store] = []
        for file in sorted(self.folder.glob("[0-9]*.npz")):
            try:
                store = Store(file)
            except UserError:  # cut off while it was written, on a disk that lost it
                continue
            if store.about.weights == embedder.weights:
                self.stores.append(store)
        self._next = 1 + max((int(file.stem) for file in self.folder.glob("[0-9]*.npz")), default=0)
        self._rows: list[Row] = []
        self._blocks: list[NDArray[np.float32]] = []

    def fill(
        self,
        listings: Sequence[Images],
        listed: dict[Key, tuple[int, int]],
        known: Sequence[KnownRows],
        progress: Progress,
    ) -> list[tuple[str, str]]:
        """Embed what no store has yet; return what cannot be read."""
        fresh = {(key, stamp) for store in [*known, *self.stores] for key, stamp in _stamped(store, listed)}
        todo: list[list[int]] = [[] for _ in listings]
        for key, (at, place) in listed.items():
            if (key, listings[at].stamps[place]) not in fresh:
                todo[at].append(place)
        failures: list[tuple[str, str]] = []
        with progress(sum(map(len, todo))) as step:
            try:
                for listing, places in zip(listings, todo, strict=True):
                    for batch in self.embedder.embed(listing, np.array(places, np.int64)):
                        failures += [(listing.names[at], reason) for at, reason in sorted(batch.failures.items())]
                        self._add(listing, batch)
                        for _ in range(len(batch.positions) + len(batch.failures)):
                            step()
            finally:
                self._flush()
        return failures

    def _add(self, listing: Images, batch: Any) -> None:
        for position, (height, width) in zip(batch.positions.tolist(), batch.sizes.tolist(), strict=True):
            names = listing.names[position], listing.labels[position], listing.stamps[position]
            self._rows.append(Row(listing.root, *names, (height, width), -1))
        if len(batch.positions):
            self._blocks.append(batch.embeddings)
        if len(self._rows) >= _SHARD:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        file = self.folder / f"{self._next:06}.npz"
        about = About(self.embedder.weights, self.embedder.metric)
        rows, blocks, self._rows, self._blocks = self._rows, self._blocks, [], []
        write_store(file, about, rows, blocks, blocks[0].shape[1])
        self._next += 1
        self.stores.append(Store(file, verify=False))


def _stamped(store: KnownRows, listed: dict[Key, tuple[int, int]]) -> Iterator[tuple[Key, str]]:
    for key, stamp in zip(store.keys(), store.stamps.tolist(), strict=True):
        if stamp and key in listed:  # a file that was not there may be there now
            yield key, stamp
