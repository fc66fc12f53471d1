"""Names of very many images: strings in one block of memory, used like a list."""

from collections.abc import Iterator, Sequence
from typing import Any, final, overload

import numpy as np
from numpy.typing import NDArray

_TOGETHER = 65_536


@final
class Texts(Sequence[str]):
    """Texts in a column of Arrow, a third of what a list of them takes.

    Args:
        column: an Arrow array of strings without nulls, in one chunk.

    Example:
        >>> import pytest
        >>> pyarrow = pytest.importorskip("pyarrow")
        >>> names = Texts(pyarrow.array(["a.png", "b.png", "c.png"]))
        >>> len(names), names[1], names[-1], names[1:], list(names) == names
        (3, 'b.png', 'c.png', ['b.png', 'c.png'], True)
    """

    def __init__(self, column: Any) -> None:
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return self.at(np.arange(len(self))[place])
        return str(self.column[int(place)])

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _TOGETHER):
            yield from self.column.slice(start, _TOGETHER).to_pylist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def at(self, places: NDArray[np.int64]) -> list[str]:
        """Return the texts at some places (n,)."""
        found: list[str] = self.column.take(places).to_pylist()
        return found


def texts_at(texts: Sequence[str], places: NDArray[np.int64]) -> list[str]:
    """Return the texts at some places (n,).

    Example:
        >>> texts_at(["a", "b", "c"], np.array([2, 0]))
        ['c', 'a']
    """
    return texts.at(places) if isinstance(texts, Texts) else [texts[i] for i in places.tolist()]
