"""Reads many images at once if a source can: one request for a batch's rows of a table, otherwise file by file."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from dml.data.catalog import JoinedReader, PickReader, Raw, Reader


@runtime_checkable
class RowsReader(Protocol):
    """A reader of a table, where many rows cost little more than one.

    Threads share it; a forked process must not use it.
    """

    def __call__(self, index: int) -> Raw:
        """Read image `index`."""
        ...

    def read_rows(self, positions: Sequence[int]) -> list[Raw | Exception]:
        """Read images in the order given; a damaged one is replaced by the reason.

        Raises:
            UserError: the table cannot be read.
        """
        ...


def read_rows(reader: Reader, positions: Sequence[int]) -> Iterator[Raw | Exception]:
    """Yield images in the order given; one that cannot be read is replaced by the reason.

    Raises:
        UserError: a table cannot be read at all, for example because its store does not answer.

    Example:
        >>> [type(found).__name__ for found in read_rows({0: "image"}.__getitem__, [0, 1])]
        ['str', 'KeyError']
    """
    if isinstance(reader, RowsReader):
        yield from reader.read_rows(positions)
    elif isinstance(reader, PickReader):
        yield from read_rows(reader.reader, [int(reader.keep[index]) for index in positions])
    else:
        for index in positions:
            try:
                found: Raw | Exception = reader(index)
            except Exception as error:  # damaged files make Pillow stumble in many ways
                found = error
            yield found


def is_read_by_threads(reader: Reader) -> bool:
    """Tell whether threads must read instead of worker processes.

    Example:
        >>> is_read_by_threads({0: "image"}.__getitem__)
        False
    """
    if isinstance(reader, PickReader):
        return is_read_by_threads(reader.reader)
    if isinstance(reader, JoinedReader):
        return is_read_by_threads(reader.first) or is_read_by_threads(reader.second)
    return isinstance(reader, RowsReader)
