"""What a store in a database must do, whether PostgreSQL or Qdrant serves it; and what is written about it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dml.errors import UserError
from dml.search.remote.address import Address, parse_address
from dml.search.store import About, Row, read_about

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class State(NamedTuple):
    """What a store in a database says about itself.

    Attributes:
        about: As a file's.
        dim: D, the size of an embedding.
        end: The position the next new row gets; rows keep theirs, and equal distances are ordered by it. Every change
            raises it.
        num_rows: Rows there are.
        said: The text this was read from, which shows a writer that nobody else has written meanwhile.
    """

    about: About
    dim: int
    end: int
    num_rows: int = 0
    said: str = ""


class Proposed(NamedTuple):
    """Rows near to one query: Euclidean distances (n,) as the store computes them, ascending, positions, rows (n,D)."""

    distances: NDArray[np.float64]
    positions: Ints
    vectors: Floats


class Writing(NamedTuple):
    """The changes to a store, made all at once.

    Attributes:
        before: What it said about itself when this was planned; None: it is created.
        after: What it says afterwards.
        rows: New rows; they get the positions from `before.end` on, or from 0.
        blocks: Their embeddings, in order, in the metric of the store.
        gone: Positions (n,) of rows to remove.
        labels: New labels of other rows, by position.
    """

    before: State | None
    after: State
    rows: Sequence[Row]
    blocks: Iterator[Floats]
    gone: Ints
    labels: dict[int, str]


class Client(Protocol):
    """One kind of store: `PgVector` or `Qdrant`. It orders by Euclidean distance; rows of `cosine` have length one."""

    shown: str

    def read(self) -> tuple[str, int] | None:
        """Return what was written about the store, as `told_state` made it, and its number of rows; None: no store."""
        ...

    def nearest(self, queries: Floats, num: int, exact: bool) -> list[Proposed]:
        """Return at most so many rows nearest to each query (Q,D)."""
        ...

    def vectors(self, positions: Ints) -> dict[int, Floats]:
        """Return rows by their positions, those that exist."""
        ...

    def rows(self, positions: Ints) -> dict[int, Row]:
        """Return what is known about rows by their positions, those that exist."""
        ...

    def listed(self, roots: Sequence[str] | None) -> Iterator[tuple[int, Row]]:
        """Yield position and row of all images of some roots, by position; None: of all."""
        ...

    def write(self, writing: Writing) -> None:
        """Change the store whole or not at all."""
        ...

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        ...


def open_client(url: str) -> Client:
    """Return the client that serves an address; nothing is created there.

    Raises:
        UserError: It is not an address, or the client's package is not installed.

    Example:
        >>> open_client("qdrant://localhost:6333/")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: qdrant://localhost:6333/ names no collection: write qdrant://HOST:PORT/COLLECTION
    """
    address: Address = parse_address(url)
    if address.kind == "qdrant":
        from dml.search.remote.qdrant import Qdrant

        return Qdrant(address)
    from dml.search.remote.pgvector import PgVector

    return PgVector(address)


def load_package(name: str, address: Address, extra: str) -> Any:
    """Return a module of the package that serves a kind of store.

    Raises:
        UserError: It is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        told = f"{address.shown} needs the package {error.name}: pip install 'dml[{extra}]'"
        raise UserError(told) from None


def told_state(state: State) -> str:
    """Return what is written about a store: JSON."""
    return json.dumps({"dim": state.dim, "end": state.end, "about": asdict(state.about)})


def read_state(client: Client) -> State | None:
    """Return what a store says about itself; None if there is none.

    Raises:
        UserError: It cannot be reached, or says something that this version cannot read.
    """
    found = client.read()
    return None if found is None else parse_state(*found, client.shown)


def parse_state(said: str, count: int, shown: str) -> State:
    """Return what `told_state` wrote.

    Args:
        said: The text.
        count: Number of rows.
        shown: The store's address without passwords.

    Raises:
        UserError: This version cannot read it.

    Example:
        >>> told = told_state(State(About("w"), dim=2, end=7))
        >>> parse_state(told, 5, "qdrant://db/roses").end
        7
    """
    foreign = f"{shown} is not an index of dml: choose another name for the table or collection"
    try:
        told = json.loads(said)
        dim, end, about = told["dim"], told["end"], json.dumps(told["about"])
        fits = isinstance(dim, int) and isinstance(end, int) and dim > 0 and end >= count
    except (ValueError, TypeError, KeyError, RecursionError):
        fits, dim, end, about = False, 0, 0, ""
    if not fits:
        raise UserError(f"{foreign} (what it says about itself cannot be read)")
    return State(read_about(about.encode(), foreign), dim, end, count, said)
