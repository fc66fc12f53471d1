"""Stores in Qdrant: a collection per store, whose metadata says what it is and how far it may be read.

A point's number is its position. Points from `end` on are invisible, and so are those whose `until` is at most `end`;
a change writes its points and marks first, then moves `end` in a single request. The next change clears away what an
interrupted one has left. Qdrant has no transactions: two writers at the same moment may disturb each other.
"""

import os
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any, final
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from dml.errors import UserError, printable, reason_of, without_password
from dml.search.remote.address import Address
from dml.search.remote.client import Floats, Ints, Proposed, State, Writing, load_package, parse_state, told_state
from dml.search.store import EXACT, Row

_SAID = "dml"  # the key of the metadata
_FORBIDDEN = '<>:"/\\|?*\0'  # in names of collections
_PAGE = 4096  # points read at once
_BATCH = 512  # points written at once
_QUERIES = 64  # asked at once
_PATIENCE = 5  # seconds until a server is taken to be down
_LONG = 600  # seconds for an answer of one that is up


@final
class Qdrant:
    """A collection of Qdrant; `dml.search.remote.client.Client` says what its methods do.

    Args:
        address: Where; its password or QDRANT_API_KEY is the API key, which requires `tls=true`.

    Raises:
        UserError: qdrant-client is not installed, or a collection cannot have this name.
    """

    def __init__(self, address: Address) -> None:
        self.shown = address.shown
        self._connection: Any = None
        self._address, self._name = address, address.name
        self._models = load_package("qdrant_client.models", address, "qdrant")
        odd = any(character in _FORBIDDEN for character in self._name) or not self._name.isprintable()
        if odd or self._name.startswith(".") or len(self._name.encode()) > 200:
            raise UserError(f"{self.shown}: a collection cannot be called {printable(self._name)!r}: give another name")
        self._end = 0  # as last read: a search looks at one state of the store

    def read(self) -> tuple[str, int] | None:
        """Return what was written about the store, and how many points are visible; None also if it never had any."""
        with self._session() as client:
            if not client.collection_exists(self._name):
                return None
            said = (client.get_collection(self._name).config.metadata or {}).get(_SAID)
            if not isinstance(said, str):
                told = "is there, but is not an index of dml: choose another name"
                raise UserError(f"{self.shown}: the collection {printable(self._name)!r} {told}")
            self._end = parse_state(said, 0, self.shown).end
            if not self._end:
                return None
            return said, int(client.count(self._name, self._seen(self._end), exact=True).count)

    def nearest(self, queries: Floats, num: int, exact: bool) -> list[Proposed]:
        """Return points nearest to each query, by a scan of all if `exact`, else by the collection's HNSW."""
        ask, models = self._models.QueryRequest, self._models
        asked = models.SearchParams(exact=True) if exact else models.SearchParams(hnsw_ef=max(num, 128))
        with self._session() as client:
            seen = self._seen(self._end)
            requests = [
                ask(query=row.tolist(), limit=num, params=asked, filter=seen, with_vector=True, with_payload=False)
                for row in queries
            ]
            found = []
            for answer in (
                answer
                for at in range(0, len(requests), _QUERIES)
                for answer in client.query_batch_points(self._name, requests[at : at + _QUERIES])
            ):
                points = answer.points
                vectors = np.array([point.vector for point in points], np.float32).reshape(len(points), -1)
                distances = np.array([point.score for point in points], np.float64)
                found.append(Proposed(distances, np.array([point.id for point in points], np.int64), vectors))
        return found

    def vectors(self, positions: Ints) -> dict[int, Floats]:
        """Return points by their positions, those that exist."""
        points = self._retrieve(positions, with_vectors=True, with_payload=False)
        return {point.id: np.array(point.vector, np.float32) for point in points}

    def rows(self, positions: Ints) -> dict[int, Row]:
        """Return what is known about points by their positions, those that exist."""
        return {point.id: _row(point.payload, self.shown) for point in self._retrieve(positions, with_payload=True)}

    def listed(self, roots: Sequence[str] | None) -> Iterator[tuple[int, Row]]:
        """Yield position and row of all images of some roots, by position."""
        models = self._models
        with self._session() as client:
            seen = self._seen(self._end)
            if roots is not None:
                seen.must.append(models.FieldCondition(key="root", match=models.MatchAny(any=list(roots))))
            at: Any = 0
            while at is not None:
                points, at = client.scroll(self._name, seen, _PAGE, offset=at, with_payload=True, with_vectors=False)
                for point in points:
                    yield int(point.id), _row(point.payload, self.shown)

    def write(self, writing: Writing) -> None:
        """Write points that are still invisible, then make them visible in a single request."""
        models, before = self._models, writing.before
        with self._session() as client:
            found = self.read()
            if (None if found is None else found[0]) != (None if before is None else before.said):
                raise UserError(f"another process has changed {self.shown} meanwhile: run this again")
            end = 0 if before is None else before.end
            if before is None:
                self._make(client, writing.after)
            else:
                self._clear(client, end)
            rows, vectors = enumerate(writing.rows, end), (row for block in writing.blocks for row in block)
            points = (
                models.PointStruct(id=at, vector=vector.tolist(), payload=_payload(at, row))
                for vector, (at, row) in zip(vectors, rows, strict=True)
            )
            while batch := list(islice(points, _BATCH)):
                client.upsert(self._name, batch, wait=True)
            for part in _parts(writing.gone):
                client.set_payload(self._name, {"until": writing.after.end}, points=part, wait=True)
            for label in sorted(set(writing.labels.values())):  # seen at once; the next call would set what is left
                chosen = np.array([at for at, own in writing.labels.items() if own == label], np.int64)
                for part in _parts(chosen):
                    client.set_payload(self._name, {"label": label}, points=part, wait=True)
            after = writing.after
            links = 0 if after.about.factory == EXACT else int(after.about.factory.removeprefix("HNSW"))
            if before is not None and before.about.factory != after.about.factory:
                client.update_collection(self._name, hnsw_config=models.HnswConfigDiff(m=links))
            client.update_collection(self._name, metadata={_SAID: told_state(after)})
            self._clear(client, after.end)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        self.close()

    def _make(self, client: Any, after: State) -> None:
        """Make a collection in which nothing is visible, replacing one that an interrupted call left in that state."""
        client.delete_collection(self._name)
        models, empty = self._models, after._replace(end=0)
        links = 0 if after.about.factory == EXACT else int(after.about.factory.removeprefix("HNSW"))
        size = models.VectorParams(size=after.dim, distance=models.Distance.EUCLID)
        hnsw = models.HnswConfigDiff(m=links)
        client.create_collection(self._name, size, hnsw_config=hnsw, metadata={_SAID: told_state(empty)})
        if not client.get_collection(self._name).config.metadata:
            client.delete_collection(self._name)
            raise UserError(f"{self.shown} keeps no metadata of collections: Qdrant 1.16 or newer does")
        for key, kind in (("position", "INTEGER"), ("until", "INTEGER"), ("root", "KEYWORD")):
            client.create_payload_index(self._name, key, models.PayloadSchemaType[kind], wait=True)

    def _clear(self, client: Any, end: int) -> None:
        """Clear away points that are invisible, and marks that never took effect."""
        models = self._models
        beyond = models.FieldCondition(key="position", range=models.Range(gte=end))
        past = models.FieldCondition(key="until", range=models.Range(lte=end))
        client.delete(self._name, models.FilterSelector(filter=models.Filter(should=[beyond, past])), wait=True)
        future = models.Filter(must=[models.FieldCondition(key="until", range=models.Range(gt=end))])
        client.delete_payload(self._name, ["until"], points=models.FilterSelector(filter=future), wait=True)

    def _seen(self, end: int) -> Any:
        models = self._models
        within = models.FieldCondition(key="position", range=models.Range(lt=end))
        past = models.FieldCondition(key="until", range=models.Range(lte=end))
        return models.Filter(must=[within], must_not=[past])

    def _retrieve(self, positions: Ints, **what: bool) -> list[Any]:
        with self._session() as client:
            return [p for part in _parts(positions) for p in client.retrieve(self._name, part, **what)]

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """Yield the client; any failure with it is reported in one line."""
        try:
            with warnings.catch_warnings():  # of keys without TLS
                warnings.simplefilter("ignore")
                if self._connection is None:
                    self._connection = connect(self._address)
                yield self._connection
        except UserError:
            raise
        except Exception as error:  # httpx, pydantic and the client have no common base
            told = printable(without_password(reason_of(error)))
            raise UserError(f"{self.shown}: {told}: check the address, the rights and the server") from None


def connect(address: Address) -> Any:
    """Return a client of the server at an address, once the server answers.

    The client's local mode has no address: its files hold pickles, and a stranger's would run code.

    Args:
        address: Where.

    Raises:
        Exception: Of the client, if the server does not answer within seconds.
    """
    client: Callable[..., Any] = load_package("qdrant_client", address, "qdrant").QdrantClient
    parts = urlsplit(address.url)
    secure = parse_qs(parts.query).get("tls", ["false"])[-1].lower() in ("true", "1")
    host, port = parts.hostname or "localhost", parts.port or 6333
    with socket.create_connection((host, port), timeout=_PATIENCE):
        pass
    key = unquote(parts.password or "") or os.environ.get("QDRANT_API_KEY") or None
    settings = {"host": host, "port": port, "https": secure, "api_key": key, "check_compatibility": False}
    with closing(client(**settings, timeout=_PATIENCE)) as probe:
        probe.collection_exists(address.name)
    return client(**settings, timeout=_LONG)


def _parts(positions: Ints) -> Iterator[list[int]]:
    return (positions[at : at + _PAGE].tolist() for at in range(0, len(positions), _PAGE))


def _payload(position: int, row: Row) -> dict[str, Any]:
    height, width = row.size
    return row._asdict() | {"size": [height, width], "position": position}


def _row(payload: Any, shown: str) -> Row:
    try:
        height, width = payload["size"]
        root, name, label, stamp = (str(payload[key]) for key in ("root", "name", "label", "stamp"))
        return Row(root, name, label, stamp, (int(height), int(width)), int(payload["id"]))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{shown} is not an index of dml (a point has another form): make it again") from None
