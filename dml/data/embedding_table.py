"""Embeddings that stand for images, by position in the source. Whoever ran an encoder fills the table."""

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@final
class EmbeddingTable:
    """A table of embeddings; loaders of untransformed images hand out its rows where it covers all of their images.

    Args:
        total: number of images in the source.

    Example:
        >>> table = EmbeddingTable(4)
        >>> table.fill(np.array([3, 1]), torch.tensor([[3.0], [1.0]]))
        >>> table.covers(np.array([1])), table.covers(np.array([0, 1])), table.get(np.array([1, 3])).tolist()
        (True, False, [[1.0], [3.0]])
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.clear()

    def clear(self) -> None:
        """Forget all: images are handed out from now on."""
        self._rows: Tensor | None = None
        self._place = torch.full((self.total,), -1)

    def fill(self, ids: NDArray[np.int64], rows: Tensor) -> None:
        """Add the embeddings (n, D) of images (n,); they stay on their device."""
        start = 0 if self._rows is None else len(self._rows)
        self._rows = rows if self._rows is None else torch.cat([self._rows, rows])
        self._place[torch.from_numpy(ids)] = torch.arange(start, start + len(ids))

    def covers(self, ids: NDArray[np.int64]) -> bool:
        """Tell whether all these images have embeddings."""
        return self._rows is not None and bool((self._place[torch.from_numpy(ids)] >= 0).all())

    def get(self, ids: NDArray[np.int64]) -> Tensor:
        """Look embeddings (n, D) up; `covers` must hold."""
        assert self._rows is not None
        return self._rows[self._place[torch.from_numpy(ids)].to(self._rows.device)]
