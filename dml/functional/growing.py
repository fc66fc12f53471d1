"""Rows that arrive batch by batch, kept in one tensor."""

from typing import final

import torch
from torch import Tensor

_FIRST = 4096  # rows there is room for at first


@final
class GrowingRows:
    """Keeps rows on the CPU, with room for more that doubles when it is full.

    Small tensors kept from batch to batch would lie between the large ones of two batches, in memory that these then
    never fit in again: a loop over images then holds as much as all of its images take.

    Example:
        >>> rows = GrowingRows()
        >>> rows.append(torch.ones(2, 3))
        >>> rows.append(torch.zeros(1, 3))
        >>> rows.all()[:, 0]
        tensor([1., 1., 0.])
    """

    def __init__(self) -> None:
        self._rows: Tensor | None = None
        self._count = 0

    def append(self, rows: Tensor) -> None:
        """Copy rows (n,...) behind those there are; shape and type of each row are those of the first."""
        count = self._count + len(rows)
        if self._rows is None or count > len(self._rows):
            grown = torch.empty(max(_FIRST, count, 2 * self._count), *rows.shape[1:], dtype=rows.dtype)
            if self._rows is not None:
                grown[: self._count] = self._rows[: self._count]
            self._rows = grown
        self._rows[self._count : count] = rows
        self._count = count

    def all(self) -> Tensor | None:
        """Return a copy of all rows (N,...); None if none were appended."""
        return None if self._rows is None else self._rows[: self._count].clone()
