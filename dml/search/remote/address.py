"""Addresses of stores in databases: which client serves them, and how to show them without passwords."""

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from dml.errors import UserError, printable, without_password

KINDS = {"postgresql": "postgresql", "postgres": "postgresql", "qdrant": "qdrant"}  # scheme -> client
_TABLE = "dml"  # where an address names none


class Address(NamedTuple):
    """Where a store is.

    Attributes:
        kind: `postgresql` or `qdrant`.
        url: The address as the client takes it, without dml's own parts.
        name: Of the table or collection.
        shown: The address in a form that may be shown: without passwords, on one line.
    """

    kind: str
    url: str
    name: str
    shown: str


def is_address(text: str) -> bool:
    """Tell whether a text is the address of a store in a database, or is meant as one.

    Example:
        >>> is_address("postgresql://db/images"), is_address("photos.npz")
        (True, False)
    """
    return text.partition("://")[0].lower() in KINDS and "://" in text


def parse_address(text: str) -> Address:
    """Parse an address.

    Args:
        text: `postgresql://USER@HOST:PORT/DATABASE?table=NAME` with anything else that libpq knows, or
            `qdrant://HOST:PORT/COLLECTION`, with `?tls=true` for https.

    Raises:
        UserError: It is not such an address.

    Example:
        >>> parse_address("postgresql://me:secret@db/images?table=roses").shown
        'postgresql://me:***@db/images?table=roses'
        >>> parse_address("qdrant://db:6333/roses").name
        'roses'
    """
    shown = printable(without_password(text))
    try:
        text.encode()  # the command line may hold bytes that are not UTF-8
        parts = urlsplit(text)
        _ = parts.port  # is looked at when it is asked for
        query = parse_qsl(parts.query, keep_blank_values=True, errors="strict")
        path = unquote(parts.path, errors="strict")
    except ValueError:
        raise UserError(f"{shown} is not an address: write other characters as %XX") from None
    kind = KINDS[parts.scheme]
    if kind == "qdrant":
        name = path.strip("/")
        if not name or not parts.hostname:
            raise UserError(f"{shown} names no collection: write qdrant://HOST:PORT/COLLECTION")
        return Address(kind, text, name, shown)
    names = [value for key, value in query if key == "table"]
    rest = urlencode([pair for pair in query if pair[0] != "table"])
    return Address(kind, urlunsplit(parts._replace(query=rest)), names[-1] if names else _TABLE, shown)
