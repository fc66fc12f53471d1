"""The ranking of `rank.py` on an accelerator: tiles of products in torch, the same counts.

Where no query has more than 64 positives, products are float32, and the few within rounding error of a positive get
their exact distance, so a desktop GPU is at home here. Elsewhere rows are sorted, which takes every distance exactly:
float64 products, refined where their error bound straddles two float32 numbers.
"""

import numpy as np
import torch
from torch import Tensor

from dml.errors import UserError
from dml.functional.retrieval import Ranks, rank_positives
from dml.neighbors.exact import Operand, product_error
from dml.neighbors.ranking.layout import RankingTask
from dml.neighbors.ranking.nearest import Candidates, Nearest
from dml.neighbors.ranking.rank import positive_distances
from dml.neighbors.ranking.tiles import Block
from dml.neighbors.torch_search import full_precision

_FEW = 64  # positives that are counted one by one, from float32 products; for more, rows are sorted
_PAIRS = 1 << 24  # numbers held at once while refining


def find_device(device: str | torch.device | None) -> torch.device | None:
    """Return the accelerator asked for, None for the CPU; Apple's, which has no float64, leaves the search to the CPU.

    Raises:
        UserError: There is no such device.

    Example:
        >>> find_device("cpu") is None
        True
    """
    wanted = torch.device(device or "cpu")
    if wanted.type in {"cpu", "mps"}:
        return None
    try:
        torch.empty(1, dtype=torch.float64, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"device {str(device)!r} cannot be used here: choose 'cpu'") from error
    return wanted


def rank_block_on(task: RankingTask, block: Block, neighbors: int, device: torch.device) -> tuple[Ranks, Candidates]:
    """Rank a block of queries on `device`; arguments and results are those of `rank_block`."""
    layout, (low, high, columns, _) = task.layout, block
    query, number = task.queries(low, high, np.float64), layout.positives[low:high]
    distances = positive_distances(task, query, low, high, columns)
    few = distances.shape[1] <= _FEW
    query = task.queries(low, high, np.float32) if few else query
    error = torch.from_numpy(product_error(query, task.longest)).to(device)
    counts = _Counts(torch.from_numpy(distances).to(device), error)
    own = torch.from_numpy(layout.self_at[low:high]).to(device)
    nearest = Nearest(high - low, neighbors)
    for start in range(0, len(layout.reference_order), columns):
        stop = min(start + columns, len(layout.reference_order))
        reference = task.references(start, stop, np.float32 if few else np.float64)
        tile = products_on(query, reference, device) if few else distances_on(query, reference, device)
        exact = Pairs(query, reference, device)
        inside = ((own >= start) & (own < stop)).nonzero()[:, 0]
        tile[inside, own[inside] - start] = torch.inf
        if (excluded := task.excluded(low, high, start, stop)) is not None:
            tile[torch.from_numpy(excluded).to(device)] = torch.inf
        border = tile.kthvalue(min(neighbors, stop - start), dim=1, keepdim=True).values
        if few:
            counts.add_products(tile, exact)
            border = _widened(border, error)
        else:
            counts.add_exact(tile)
        row, column = ((tile <= border) & tile.isfinite()).nonzero(as_tuple=True)
        found = (exact.distances(row, column) if few else tile[row, column]).cpu().numpy()
        nearest.add(row.cpu().numpy(), found, layout.reference_class[start:stop][column.cpu().numpy()])
    table = torch.from_numpy(number), counts.closer.cpu(), counts.not_farther.cpu()
    return rank_positives(torch.from_numpy(distances), *table), nearest.result()


class Pairs:
    """Rows of queries and references on a device, for the exact distances of some pairs."""

    def __init__(self, query: Operand, reference: Operand, device: torch.device) -> None:
        parts = (np.ascontiguousarray(operand.rows) for operand in (query, reference))
        self._query, self._reference = (torch.from_numpy(part).to(device) for part in parts)

    def distances(self, row: Tensor, column: Tensor) -> Tensor:
        """Return the exact squared distances (n,) of queries `row` (n,) and references `column` (n,), in float32."""
        exact = torch.empty(len(row), dtype=torch.float32, device=row.device)
        step = max(1, _PAIRS // self._query.shape[1])
        for start in range(0, len(row), step):
            part = slice(start, start + step)
            difference = self._query[row[part]].double() - self._reference[column[part]]
            exact[part] = difference.square().sum(dim=1).float()
        return exact


class _Counts:
    """Counts, tile by tile, the references closer than each positive and those not farther, (B,P).

    Args:
        positives: Exact distances, filled up with infinity, (B,P).
        error: How far float32 products may be off, (B,).
    """

    def __init__(self, positives: Tensor, error: Tensor) -> None:
        self._wanted = positives
        slack = error[:, None] + 2.0**-22 * positives  # the exact distance itself is rounded
        infinity = torch.full_like(positives, torch.inf)
        self._low = (positives - slack).float().nextafter(-infinity)
        high = (positives + slack).float().nextafter(infinity)
        self._high = high.where(positives.isfinite(), -infinity)  # nothing is compared with the filling
        self.closer = torch.zeros(positives.shape, dtype=torch.int64, device=positives.device)
        self.not_farther = self.closer.clone()

    def add_exact(self, tile: Tensor) -> None:
        """Count a tile (B,T) of exact distances."""
        ordered = tile.sort(dim=1).values
        self.closer += torch.searchsorted(ordered, self._wanted)
        self.not_farther += torch.searchsorted(ordered, self._wanted, right=True)

    def add_products(self, tile: Tensor, exact: Pairs) -> None:
        """Count a tile (B,T) of float32 products: those within rounding error of a positive by their exact distance."""
        for j in range(self._wanted.shape[1]):
            sure = tile < self._low[:, j, None]
            row, column = ((tile <= self._high[:, j, None]) & ~sure & tile.isfinite()).nonzero(as_tuple=True)
            found, wanted = exact.distances(row, column), self._wanted[row, j]
            number = sure.sum(dim=1)
            self.closer[:, j] += number.index_add(0, row, (found < wanted).long())
            self.not_farther[:, j] += number.index_add(0, row, (found <= wanted).long())


def products_on(query: Operand, reference: Operand, device: torch.device) -> Tensor:
    """Return squared distances (Q,R) of rows prepared in float32, off by no more than `product_error`."""
    left, right = (torch.from_numpy(np.ascontiguousarray(part.factors)).to(device) for part in (query, reference))
    with full_precision():
        return left @ right.T


def _widened(border: Tensor, error: Tensor) -> Tensor:
    """Return borders (B,1) that no product exceeds whose exact distance is within, or tied with, the given ones."""
    return (border * (1 + 2.0**-21) + 2.001 * error[:, None]).float()


def distances_on(query: Operand, reference: Operand, device: torch.device) -> Tensor:
    """Return the exact squared distances (Q,R) in float32, as `squared_distances` does, on `device`."""
    left, right = (torch.from_numpy(part.factors).to(device) for part in (query, reference))
    bound = product_error(query, float(reference.lengths.max(initial=0)))
    error = torch.from_numpy(bound).to(device)[:, None]
    product = left @ right.T  # (Q, R)
    low = (product - error).float()
    row, column = (low != (product + error).float()).nonzero(as_tuple=True)
    low[row, column] = Pairs(query, reference, device).distances(row, column)
    return low
