"""The result of a search: matches by rank, and whether a query is like anything at all."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple, Protocol, final

import numpy as np
from numpy.typing import NDArray

from dml.search.store import About, Row


class Table(Protocol):
    """What a search result needs from a store, wherever that is."""

    @property
    def path(self) -> PurePath | str:
        """Where it is, in a form that may be shown."""
        ...

    @property
    def about(self) -> About:
        """What it says of itself."""
        ...

    def __len__(self) -> int: ...

    def row(self, position: int) -> Row:
        """Return what is known about one row."""
        ...


class Match(NamedTuple):
    """An image that was found: rank from 1, distance, name, label, the folder or zip its name is relative to."""

    rank: int
    distance: float
    name: str
    label: str
    root: str
    id: int

    def shown(self, several: bool) -> str:
        """Return the name to show, with the last part of the root if there are several."""
        return f"{PurePath(self.root).name}/{self.name}" if several else self.name


@final
@dataclass(frozen=True)
class Found:
    """The images nearest to Q queries.

    Attributes:
        distances: float64 (Q,k), ascending.
        positions: int64 (Q,k) of the rows in the store.
        store: Where they are.
        threshold: Beyond this distance nothing counts as a match; None: everything does.
    """

    distances: NDArray[np.float64]
    positions: NDArray[np.int64]
    store: Table
    threshold: float | None = None

    def __len__(self) -> int:
        return len(self.distances)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether each query (Q,) has a match within the threshold."""
        if self.threshold is None:
            return np.ones(len(self), bool)
        return np.asarray(self.distances[:, 0] <= self.threshold)

    def matches(self, query: int) -> list[Match]:
        """Return the matches of one query, nearest first, those beyond the threshold left out."""
        found = []
        for rank, (distance, position) in enumerate(
            zip(self.distances[query].tolist(), self.positions[query].tolist(), strict=True), 1
        ):
            if self.threshold is None or distance <= self.threshold:
                row = self.store.row(position)
                found.append(Match(rank, distance, row.name, row.label, row.root, row.id))
        return found
