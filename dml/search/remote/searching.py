"""Searches stores in databases like one on this machine: the store's own client proposes, exact distances decide."""

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from dml.embeddings import unit_rows
from dml.errors import UserError
from dml.neighbors.distances import get_metric
from dml.search.names import misnamed
from dml.search.remote.client import Floats, Ints, Proposed, open_client, read_state
from dml.search.store import EXACT, Row
from dml.search.structure import num_candidates

_SPARE = 16  # candidates beyond k, so that the border of the k nearest can be certified
_BYTES = 1 << 28  # of candidates held at once
_KEPT = 100_000  # rows remembered between calls


@final
class RemoteStore:
    """A store in a database; positions do not change when rows are removed.

    Attributes: `path` (the address without passwords), `about`, `dim`.

    Args:
        url: Its address; see `parse_address`.

    Raises:
        UserError: There is none, or it cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self._client = open_client(url)
        self.path = self._client.shown
        state = read_state(self._client)
        if state is None:
            raise UserError(f"no index at {self.path}: make one with `dml index RUN --to ADDRESS`")
        self.about, self.dim, self._count = state.about, state.dim, state.num_rows
        self._metric = get_metric(self.about.metric)
        self._kept: dict[int, Row] = {}

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Close the connection; the next search opens another."""
        self._client.close()

    def search(self, rows: NDArray[Any], k: int) -> tuple[NDArray[np.float64], Ints]:
        """Return distances, ascending, and positions (Q,k) of the rows nearest to embeddings (Q,D).

        Exact if the store's `factory` is `Flat`: candidates by the store's own float32 distances, compared in
        float64, and more of them until rounding cannot have kept a nearer row from being one. Equal distances are
        ordered by position.

        Raises:
            UserError: The store cannot be reached, or has lost rows meanwhile.
        """
        asked = unit_rows(rows) if self._metric.name == "cosine" else rows
        exact = self.about.factory == EXACT
        distances, positions = np.empty((len(rows), k)), np.empty((len(rows), k), np.int64)
        todo = np.arange(len(rows))
        num = min(self._count, k + _SPARE) if exact else num_candidates(k, self._count)
        while len(todo):
            block = max(1, _BYTES // (4 * num * self.dim))
            left = []
            for start in range(0, len(todo), block):
                part = todo[start : start + block]
                for at, proposed in zip(part, self._client.nearest(_single(asked[part]), num, exact), strict=True):
                    if not exact and len(proposed.positions) < k:  # an approximate index may propose too few
                        left.append(at)
                        continue
                    distances[at], positions[at], certain = self._compare(asked[at], proposed, k, num)
                    left += [] if certain or not exact else [at]
            todo, num = np.array(left, np.int64), min(self._count, 4 * num if exact else k + _SPARE)
            exact = True
        if len(self._kept) > _KEPT:
            self._kept.clear()
        self._kept |= self._client.rows(np.unique(positions))
        return distances, positions

    def vectors(self, positions: Ints) -> Floats:
        """Return rows (n,D), of length one under `cosine`.

        Raises:
            UserError: One is gone.
        """
        found = self._client.vectors(np.unique(positions))
        return np.stack([found[at] if at in found else self._gone() for at in positions.tolist()])

    def row(self, position: int) -> Row:
        """Return what is known about one row.

        Raises:
            UserError: It is gone, or its name leads out of its folder.
        """
        if position not in self._kept:
            self._kept |= self._client.rows(np.array([position]))
        row = self._kept.get(position) or self._gone()
        if wrong := misnamed(row.name):
            raise UserError(f"{self.path} is not an index of dml ({wrong}): make it again")
        return row

    def _compare(
        self, query: NDArray[Any], proposed: Proposed, k: int, num: int
    ) -> tuple[NDArray[np.float64], Ints, bool]:
        """Return exact distances and positions (k,) of what was proposed, and whether no other row can be nearer."""
        if len(proposed.positions) < k:
            self._gone()
        if proposed.vectors.shape[1] != self.dim or not np.isfinite(proposed.vectors).all():
            raise UserError(f"{self.path} holds embeddings that are not {self.dim} finite numbers: make it again")
        asked = np.repeat(query[None], len(proposed.vectors), axis=0)  # sums depend on how rows lie in memory
        keys = self._metric.paired(asked, proposed.vectors)
        order = np.lexsort((proposed.positions, keys))[:k]
        last = float(proposed.distances[-1])
        off = float(np.linalg.norm(query.astype(np.float64) - _single(query)))  # float64 queries are asked rounded
        slack = (self.dim + 16) * 2.0**-23 * last**2 + 2 * last * off + off**2 + self.dim * 2.0**-125
        certain = num >= self._count or len(keys) < num or bool(keys[order[-1]] < last**2 - slack)
        return self._metric.distance(keys[order]), proposed.positions[order], certain

    def _gone(self) -> Any:
        raise UserError(f"{self.path} has lost rows since it was opened: search again")


def _single(rows: NDArray[Any]) -> Floats:
    return np.ascontiguousarray(rows, dtype=np.float32)
