"""What stores know about their images, without the embeddings: what is there already, and what to copy."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from dml.search.names import Key
from dml.search.remote.client import Client, State
from dml.search.store import About, Row, Store


class StoredMaker(NamedTuple):
    """What made a store, according to the store."""

    folder: Path
    weights: str
    metric: str
    image_shape: tuple[int, ...]

    @classmethod
    def of(cls, about: About) -> "StoredMaker":
        """Return what a store says."""
        return cls(Path(about.run), about.weights, about.metric, about.image_shape)


@final
class Inventory:
    """What a store in a database knows about images, without their embeddings."""

    def __init__(self, client: Client, state: State | None, roots: Sequence[str] | None) -> None:
        listed = [] if state is None or roots == [] else list(client.listed(roots))
        self.positions = np.array([position for position, _ in listed], np.int64)
        self.held = [row for _, row in listed]
        self.ids = np.array([row.id for row in self.held], np.int64)
        self.stamps = np.array([row.stamp for row in self.held], object)

    def keys(self) -> list[Key]:
        """Return root and name of every row."""
        return [(row.root, row.name) for row in self.held]

    def rows(self, positions: NDArray[np.int64]) -> list[Row]:
        """Return what is known about rows (n,)."""
        return [self.held[at] for at in positions.tolist()]


class StoredImages(NamedTuple):
    """Rows of a file below one root, as images that are listed."""

    root: str
    names: list[str]
    labels: list[str]
    stamps: list[str]


def as_images(store: Store) -> list[StoredImages]:
    """Return the rows of a file as images, those below each root together."""
    parts = {root: StoredImages(root, [], [], []) for root in store.about.roots}
    for row in store.rows(np.arange(len(store))):
        part = parts[row.root]
        part.names.append(row.name)
        part.labels.append(row.label)
        part.stamps.append(row.stamp)
    return list(parts.values())
