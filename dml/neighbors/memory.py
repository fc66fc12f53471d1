"""Reads amounts of memory as people write them; no torch here."""

from dml.errors import UserError

_BINARY = {"b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_UNITS = _BINARY | {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def parse_memory(memory: str | int) -> int:
    """Return a number of bytes from "2GiB", "500 MB", or a number.

    Raises:
        UserError: The text is not a positive number with a unit.

    Example:
        >>> parse_memory("2GiB"), parse_memory(1024)
        (2147483648, 1024)
    """
    text = str(memory).strip().lower()
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(digits) :].strip() or "b"
    try:
        size = int(float(digits) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        size = 0
    if size <= 0:
        raise UserError(f"max_memory {memory!r} is not an amount of memory: write '2GiB' or '500MB'")
    return size
