"""The ranking of `rank.py` on an accelerator: exact float64 tiles in torch, the same counts.

Every tile is a float64 product, refined where its error bound straddles two float32 numbers, so a data-centre GPU is at
home here; a desktop GPU does float64 at a fraction of its speed.
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

_FEW = 64  # positives that are counted one by one; for more, rows are sorted
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
    wanted = torch.from_numpy(distances).to(device)
    closer = torch.zeros(distances.shape, dtype=torch.int64, device=device)
    not_farther = closer.clone()
    own = torch.from_numpy(layout.self_at[low:high]).to(device)
    nearest = Nearest(high - low, neighbors)
    for start in range(0, len(layout.reference_order), columns):
        stop = min(start + columns, len(layout.reference_order))
        tile = distances_on(query, task.references(start, stop, np.float64), device)
        inside = ((own >= start) & (own < stop)).nonzero()[:, 0]
        tile[inside, own[inside] - start] = torch.inf
        if (excluded := task.excluded(low, high, start, stop)) is not None:
            tile[torch.from_numpy(excluded).to(device)] = torch.inf
        _count(tile, wanted, closer, not_farther)
        border = tile.kthvalue(min(neighbors, stop - start), dim=1, keepdim=True).values
        row, column = ((tile <= border) & tile.isfinite()).nonzero(as_tuple=True)
        found = tile[row, column].cpu().numpy()
        nearest.add(row.cpu().numpy(), found, layout.reference_class[start:stop][column.cpu().numpy()])
    counts = torch.from_numpy(number), closer.cpu(), not_farther.cpu()
    return rank_positives(torch.from_numpy(distances), *counts), nearest.result()


def distances_on(query: Operand, reference: Operand, device: torch.device) -> Tensor:
    """Return the exact squared distances (Q,R) in float32, as `squared_distances` does, on `device`."""
    left, right = (torch.from_numpy(part.factors).to(device) for part in (query, reference))
    bound = product_error(query, float(reference.lengths.max(initial=0)))
    error = torch.from_numpy(bound).to(device)[:, None]
    product = left @ right.T  # (Q, R)
    low = (product - error).float()
    row, column = (low != (product + error).float()).nonzero(as_tuple=True)
    rows, columns = (torch.from_numpy(np.ascontiguousarray(part.rows)).to(device) for part in (query, reference))
    for part in torch.arange(len(row), device=device).split(max(1, _PAIRS // rows.shape[1])):
        i, j = row[part], column[part]
        low[i, j] = (rows[i].double() - columns[j]).square().sum(dim=1).float()
    return low


def _count(tile: Tensor, wanted: Tensor, closer: Tensor, not_farther: Tensor) -> None:
    if wanted.shape[1] <= _FEW:
        for j in range(wanted.shape[1]):
            closer[:, j] += (tile < wanted[:, j, None]).sum(dim=1)
            not_farther[:, j] += (tile <= wanted[:, j, None]).sum(dim=1)
        return
    ordered = tile.sort(dim=1).values
    closer += torch.searchsorted(ordered, wanted)
    not_farther += torch.searchsorted(ordered, wanted, right=True)
