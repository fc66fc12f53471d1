"""The hinge over all triplets of small classes: each tile of distances is compared with its few thresholds."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from dml.functional.distances import wide
from dml.functional.pairwise import Sums

SMALL_UP_TO = 32  # members of a class up to which comparing with each is faster than sorting them (CPU)
TILE_ROWS = 256  # a tile, its weights and a mask then take 1.5 MiB, which a processor's cache holds
DEVICE_TILE_ROWS = 4096  # an accelerator needs more to be busy: 384 MiB
_TIE = 16  # roundings of |x|² + |y|² within which two squared distances are equal


class Classes(NamedTuple):
    """A batch in the order of its classes."""

    order: Tensor  # (B,), where each sample stands in the batch
    starts: Tensor  # (B,), where its class starts in this order
    sizes: Tensor  # (B,), how many members it has


class Margins(NamedTuple):
    """What anchors and their positives mean: the tuples and their distances."""

    margin: float
    semihard: bool
    squared: bool
    include_self: bool


class Anchors(NamedTuple):
    """The anchors of a tile, A of them with up to P positives each."""

    rows: slice
    partners: Tensor  # (A,P), the positives' positions within the tile
    near: Tensor  # (A,P), the squared distances to them
    beyond: Tensor | None  # (A,P), the squared distances from which a negative costs something; None: from 0
    within: Tensor  # (A,P), and up to which; −inf where there is no positive
    counts: Tensor  # (A,P), how many negatives cost something


class Tile(NamedTuple):
    """Squared distances (A,B), how often each pair is pushed apart, and room for a comparison."""

    distances: Tensor
    pushes: Tensor
    mask: Tensor


def classes_of(labels: Tensor) -> Classes:
    """Sort a batch by class.

    Args:
        labels: (B,).

    Example:
        >>> [part.tolist() for part in classes_of(torch.tensor([7, 5, 7]))]
        [[1, 0, 2], [0, 1, 1], [1, 2, 2]]
    """
    ordered, order = labels.sort(stable=True)
    starts, ends = (torch.searchsorted(ordered, ordered, right=right) for right in (False, True))
    return Classes(order, starts, ends - starts)


@torch.no_grad()
def tiled_hinge_sums(embeddings: Tensor, classes: Classes, margins: Margins) -> Sums:
    """Sum max(0, d_ap − d_an + margin) over all (or the semi-hard) triplets, every sample an anchor.

    With samples in the order of their classes, and no class in two tiles, positives meet on the diagonal only. A tile
    off the diagonal serves the anchors of its rows and those of its columns, so that half of the distances are
    computed, and each is compared with the thresholds d_ap + margin: O(B²·(D + P)) time for P positives per anchor,
    without sorting, and O(B·(D + P)) memory. A hinge within rounding error of 0 counts as 0.

    Args:
        embeddings: (B,D).
        classes: Of the batch.
        margins: Which triplets, of which distances; see `dml.functional.losses.triplet_loss`.

    Example:
        >>> embeddings, classes = torch.tensor([[0.0], [1.0], [2.0]]), classes_of(torch.tensor([0, 0, 1]))
        >>> sums = tiled_hinge_sums(embeddings, classes, Margins(1.0, semihard=False, squared=True, include_self=False))
        >>> [part.tolist() for part in sums]
        [[1.0], [1.0], [[[-2.0], [4.0], [-2.0]]]]
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        points = wide(embeddings)[classes.order]
        points = points - points.mean(dim=0)
        norms, ones = points.square().sum(dim=1, keepdim=True), torch.ones_like(points[:, :1])
        left, right = torch.cat([-2 * points, norms, ones], dim=1), torch.cat([points, ones, norms], dim=1)
        anchors, moments = _visit_tiles(left, right, classes, margins)
        gradient = torch.addcmul(moments[:, :-2], moments[:, -2, None], points, value=-1).mul_(2)
        active = torch.stack([each.counts.sum() for each in anchors]).sum()
        value = (points * gradient).sum() / (2 if margins.squared else 1)  # Σ ± distances, by Euler's theorem
        value += margins.margin * active
        value += 0 * norms.sum()  # embeddings that are not finite must not pass for a loss of 0
        return Sums(value[None], active[None], torch.empty_like(gradient).index_copy_(0, classes.order, gradient)[None])


def _visit_tiles(left: Tensor, right: Tensor, classes: Classes, margins: Margins) -> tuple[list[Anchors], Tensor]:
    """Return all anchors, and Σ_j w_ij·[x_j, 1, |x_j|²] as (B,D+2), w_ij the pushes less the pulls between i and j."""
    norms, moments = right[:, -1], torch.zeros_like(right)
    slots = int(classes.sizes.max()) - 1 + margins.include_self
    anchors: list[Anchors] = []
    for rows in _cut(classes, TILE_ROWS if left.device.type == "cpu" else DEVICE_TILE_ROWS):
        distances = left[rows] @ right[rows].T
        own = _anchors(distances, norms[rows], classes, rows, slots, margins)
        distances.scatter_(1, own.partners, torch.inf).fill_diagonal_(torch.inf)
        weights = _pushes(distances, [own], norms[rows], norms[rows], margins)
        moments[rows].addmm_(weights + weights.T, right[rows])
        for other in anchors:
            distances = left[other.rows] @ right[rows].T
            weights = _pushes(distances, [other, own], norms[other.rows], norms[rows], margins)
            moments[other.rows].addmm_(weights, right[rows])
            moments[rows].addmm_(weights.T, right[other.rows])
        anchors.append(own)
    for own in anchors:
        pulls = own.counts if margins.squared else own.counts * _slopes(own.near, 0.0)
        weights = moments.new_zeros(len(pulls), len(pulls)).scatter_add_(1, own.partners, pulls)
        moments[own.rows].addmm_(weights + weights.T, right[own.rows], alpha=-1)
    return anchors, moments


def _cut(classes: Classes, rows: int) -> Iterator[slice]:
    """Yield tiles of about equal height, up to `rows` or the largest class, that split no class."""
    total, start = len(classes.starts), 0
    height = -(-total // -(-total // rows))
    for low, high in pairwise([*classes.starts.unique_consecutive().tolist(), total]):
        if high - start > height and low > start:
            yield slice(start, low)
            start = low
    yield slice(start, total)


def _anchors(distances: Tensor, norms: Tensor, classes: Classes, rows: slice, slots: int, margins: Margins) -> Anchors:
    """Return the anchors of a tile (A,A) on the diagonal; norms (A,)."""
    first, sizes = classes.starts[rows, None] - rows.start, classes.sizes[rows, None]
    place, slot = (torch.arange(length, device=norms.device) for length in (len(norms), slots))
    partners = first + (place[:, None] - first + 1 + slot) % sizes  # the last of them is the anchor itself
    near = distances.gather(1, partners)
    near = near.where(near > _noise(norms[:, None], norms[partners]), 0.0)
    reach = near + margins.margin if margins.squared else (near.sqrt() + margins.margin).clamp_(min=0).square_()
    within = reach - _noise_at(norms, reach)
    missing = slot >= sizes - 1 + margins.include_self
    within = within.masked_fill(missing, -torch.inf)
    beyond = torch.minimum(near + _noise_at(norms, near), within) if margins.semihard else None
    return Anchors(rows, partners, near, beyond, within, torch.zeros_like(near))


def _noise(left: Tensor, right: Tensor) -> Tensor:
    """Return how large a squared distance may come out between equal points with these squared norms."""
    return (left + right) * (_TIE * torch.finfo(left.dtype).eps)


def _noise_at(norms: Tensor, squares: Tensor) -> Tensor:
    """Return how far off a squared distance may come out that is as large as some (A,P) of anchors with norms (A,)."""
    lengths = norms.sqrt()[:, None]
    return _noise(lengths.square(), (lengths + squares.clamp(min=0).sqrt()).square())  # the triangle's inequality


def _pushes(
    distances: Tensor, anchors: Sequence[Anchors], row_norms: Tensor, column_norms: Tensor, margins: Margins
) -> Tensor:
    """Return how strongly each pair of a tile (A,B) is pushed apart, and add up the negatives that cost something.

    The first of `anchors` are the tile's rows, the second, where given, its columns.
    """
    pushes, mask = torch.zeros_like(distances), torch.empty_like(distances)
    for transposed, each in enumerate(anchors):
        tile = Tile(distances.T, pushes.T, mask.T) if transposed else Tile(distances, pushes, mask)
        _count(tile, each.counts, each.within, 1)
        if each.beyond is not None:
            _count(tile, each.counts, each.beyond, -1)
    return pushes if margins.squared else pushes.mul_(_slopes(distances, _noise(row_norms[:, None], column_norms)))


def _count(tile: Tile, counts: Tensor, thresholds: Tensor, sign: int) -> None:
    """Add up which distances (A,B) are below which thresholds (A,P): by pair, and by anchor and positive."""
    for slot in range(thresholds.shape[1]):
        torch.lt(
            tile.distances, thresholds[:, slot, None], out=tile.mask
        )  # as numbers: an order faster to add up than truth values
        tile.pushes.add_(tile.mask, alpha=sign)
        counts[:, slot].add_(tile.mask.sum(dim=1), alpha=sign)


def _slopes(squares: Tensor, noise: Tensor | float) -> Tensor:
    """Return the derivatives 1/(2d) of distances by their squares; 0 where d = 0."""
    return (squares.rsqrt() / 2).where(squares > noise, 0.0)
