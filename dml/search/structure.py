"""Search structures of a store: none for the exact search, else what FAISS builds from a factory string."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from dml.search.store import EXACT, About, Store

Blocks = Callable[[int], Iterator[NDArray[np.float32]]]  # embeddings from a row on, block by block


def encode(
    about: About, count: int, dim: int, blocks: Blocks, old: Store | None, origin: NDArray[np.int64]
) -> NDArray[np.uint8] | None:
    """Return the serialised structure of a store about to be written; None for the exact search."""
    if about.factory == EXACT:
        return None
    raise NotImplementedError
