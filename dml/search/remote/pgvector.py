"""Stores in PostgreSQL with pgvector: one table of rows each, and one table that describes them all."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np

from dml.errors import UserError, printable, reason_of, without_password
from dml.search.remote.address import Address
from dml.search.remote.client import Floats, Ints, Proposed, Writing, load_package, told_state
from dml.search.store import EXACT, Row

_STORES = "dml_stores"
_LONGEST = 63  # bytes of an identifier; PostgreSQL would cut the rest off
_MOST_CANDIDATES = 1000  # of hnsw.ef_search
_FETCH = 5000  # rows under way at once
_ROW = "root, name, label, stamp, height, width, id"
_COLUMNS = f"position, {_ROW}, embedding"
_TYPES = ["int8", "text", "text", "text", "text", "int4", "int4", "int8", "vector"]


@final
class PgVector:
    """A table of PostgreSQL; `dml.search.remote.client.Client` says what its methods do.

    Args:
        address: Where; `table` of its query is the table, passwords may come from PGPASSWORD or ~/.pgpass too.

    Raises:
        UserError: psycopg or pgvector is not installed, or the table cannot have this name.
    """

    def __init__(self, address: Address) -> None:
        self.shown = address.shown
        self._connection: Any = None
        self._address = address
        self._psycopg = load_package("psycopg", address, "pgvector")
        self._register = load_package("pgvector.psycopg", address, "pgvector").register_vector
        self._vector = load_package("pgvector", address, "pgvector").Vector
        name = address.name
        if not name or "\0" in name or len(name.encode(errors="replace")) > _LONGEST or name == _STORES:
            raise UserError(f"{self.shown}: a table cannot be called {printable(name)!r}: give another ?table=NAME")
        self._knows_vectors = False

    def read(self) -> tuple[str, int] | None:
        """Return what was written about the store, and how many rows it has."""
        with self._session() as run:
            return self._read(run)

    def nearest(self, queries: Floats, num: int, exact: bool) -> list[Proposed]:
        """Return rows nearest to each query, by a scan of all rows if `exact`, else by the table's index."""
        select = "SELECT position, embedding, embedding <-> %s AS distance FROM {table} ORDER BY distance LIMIT %s"
        found = []
        with self._session() as run:
            if exact:
                run("SET LOCAL enable_indexscan = off")  # an index that somebody made would answer approximately
            else:
                run(f"SET LOCAL hnsw.ef_search = {min(max(num, 40), _MOST_CANDIDATES)}")
                run("SET LOCAL enable_seqscan = off")
            for query in queries:
                rows = run(select, self._vector(query), num).fetchall()
                found.append(
                    Proposed(
                        np.array([row[2] for row in rows], np.float64),
                        np.array([row[0] for row in rows], np.int64),
                        np.array([_numbers(row[1]) for row in rows], np.float32).reshape(len(rows), -1),
                    )
                )
        return found

    def vectors(self, positions: Ints) -> dict[int, Floats]:
        """Return rows by their positions, those that exist."""
        with self._session() as run:
            found = run("SELECT position, embedding FROM {table} WHERE position = ANY(%s)", positions.tolist())
            return {position: _numbers(vector) for position, vector in found}

    def rows(self, positions: Ints) -> dict[int, Row]:
        """Return what is known about rows by their positions, those that exist."""
        with self._session() as run:
            found = run(f"SELECT position, {_ROW} FROM {{table}} WHERE position = ANY(%s)", positions.tolist())
            return {position: _row(*known) for position, *known in found}

    def listed(self, roots: Sequence[str] | None) -> Iterator[tuple[int, Row]]:
        """Yield position and row of all images of some roots, by position."""
        where, values = ("", []) if roots is None else (" WHERE root = ANY(%s)", [list(roots)])
        with self._session(), self._connection.cursor("rows", binary=True) as cursor:
            cursor.itersize = _FETCH
            select = f"SELECT position, {_ROW} FROM {{table}}{where} ORDER BY position"
            cursor.execute(self._query(select, bool(values)), values or None)
            for position, *known in cursor:
                yield position, _row(*known)

    def write(self, writing: Writing) -> None:
        """Change the table in one transaction."""
        before = None if writing.before is None else writing.before.said
        end = 0 if writing.before is None else writing.before.end
        self.close()  # the connection may have been idle for hours
        with self._session(writes=True) as run:
            run("SET LOCAL lock_timeout = '5s'")
            run("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", f"{_STORES} {self._address.name}")
            found = self._read(run)
            if (None if found is None else found[0]) != before:
                raise UserError(f"another process has changed {self.shown} meanwhile: run this again")
            if found is None:
                self._make(run, writing.after.dim)
            if len(writing.gone):
                run("DELETE FROM {table} WHERE position = ANY(%s)", writing.gone.tolist())
            for position, label in writing.labels.items():
                run("UPDATE {table} SET label = %s WHERE position = %s", label, position)
            copy = self._query(f"COPY {{table}} ({_COLUMNS}) FROM STDIN (FORMAT BINARY)")
            with self._connection.cursor() as cursor, cursor.copy(copy) as copying:
                copying.set_types(_TYPES)
                rows = enumerate(writing.rows, end)
                for vector in (vector for block in writing.blocks for vector in block):
                    position, row = next(rows)
                    known = (row.root, row.name, row.label, row.stamp, *row.size, row.id)
                    copying.write_row((position, *known, self._vector(vector)))
            self._index(run, writing)
            kept = "VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET said = excluded.said"
            run(f"INSERT INTO {_STORES} (name, said) {kept}", self._address.name, told_state(writing.after))

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        self.close()

    def _read(self, run: Any) -> tuple[str, int] | None:
        """Return what is written about the table and its rows, within a transaction."""
        has, own = run(
            "SELECT to_regclass(%s) IS NOT NULL, to_regclass(%s) IS NOT NULL", _STORES, self._quoted()
        ).fetchone()
        said = run(f"SELECT said FROM {_STORES} WHERE name = %s", self._address.name).fetchone() if has else None
        if not own:
            return None
        if said is None:
            told = "is there, but is not an index of dml: choose another ?table=NAME"
            raise UserError(f"{self.shown}: the table {printable(self._address.name)!r} {told}")
        return str(said[0]), int(run("SELECT count(*) FROM {table}").fetchone()[0])

    def _make(self, run: Any, dim: int) -> None:
        run(f"CREATE TABLE IF NOT EXISTS {_STORES} (name text PRIMARY KEY, said text NOT NULL)")
        run(
            "CREATE TABLE {table} (position bigint PRIMARY KEY, root text NOT NULL, name text NOT NULL,"
            " label text NOT NULL, stamp text NOT NULL, height integer NOT NULL, width integer NOT NULL,"
            f" id bigint NOT NULL UNIQUE, embedding vector({dim}) NOT NULL)"
        )

    def _index(self, run: Any, writing: Writing) -> None:
        """Make or drop the approximate index."""
        now = EXACT if writing.before is None else writing.before.about.factory
        wanted = writing.after.about.factory
        if wanted == now:
            return
        run("DROP INDEX IF EXISTS {index}")
        if wanted != EXACT:
            links = int(wanted.removeprefix("HNSW"))
            run(f"CREATE INDEX {{index}} ON {{table}} USING hnsw (embedding vector_l2_ops) WITH (m = {links})")

    def _quoted(self) -> str:
        return '"' + self._address.name.replace('"', '""') + '"'

    def _query(self, text: str, with_values: bool = False) -> Any:
        """Return a statement with its names quoted; beside values psycopg reads a % in a name as a placeholder."""
        short = hashlib.blake2b(self._address.name.encode(), digest_size=12).hexdigest()
        index = self._psycopg.sql.Identifier(f"dml_hnsw_{short}")
        name = self._address.name.replace("%", "%%") if with_values else self._address.name
        return self._psycopg.sql.SQL(text).format(table=self._psycopg.sql.Identifier(name), index=index)

    @contextmanager
    def _session(self, writes: bool = False) -> Iterator[Any]:
        """Open a transaction and yield what runs a statement in it; any failure is reported in one line."""
        try:
            self._connect(writes)

            def run(text: str, *values: Any) -> Any:
                return self._connection.execute(self._query(text, bool(values)), values or None, binary=True)

            with self._connection.transaction():
                if not writes:
                    run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                yield run
        except self._psycopg.errors.LockNotAvailable:
            raise UserError(f"another process writes {self.shown}: wait for it") from None
        except (self._psycopg.Error, UnicodeError) as error:
            told = printable(without_password(reason_of(error)))
            raise UserError(f"{self.shown}: {told}: check the address, the rights and the server") from None

    def _connect(self, writes: bool) -> None:
        """Connect if there is no connection, with vectors as a type; a writer installs the extension."""
        if self._connection is None or self._connection.closed:
            settings = {"connect_timeout": 4, "tcp_user_timeout": 10_000, "application_name": "dml"}
            self._connection = self._psycopg.connect(self._address.url, autocommit=True, **settings)
            self._knows_vectors = False
        if not self._knows_vectors:
            if writes:
                self._connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            found = self._connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone()
            if found is not None:
                self._register(self._connection)
                self._knows_vectors = True


def _numbers(vector: Any) -> Floats:
    return np.asarray(vector.to_numpy() if hasattr(vector, "to_numpy") else vector, np.float32)


def _row(root: str, name: str, label: str, stamp: str, height: int, width: int, number: int) -> Row:
    return Row(root, name, label, stamp, (height, width), number)
