"""Computes what the triplets of a batch cost and how that changes with each distance."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dml.functional.counting import counts_below, excess_below
from dml.functional.pairwise import Term, fake_sums, sum_over_anchors
from dml.functional.triplet_tiles import SMALL_UP_TO, Margins, classes_of, tiled_hinge_sums

Sums = tuple[Tensor, Tensor, Tensor, Tensor]
Mining = Literal["all", "semihard", "hard"]
Penalty = Literal["hinge", "squared_hinge", "softplus"]


class Positives(NamedTuple):
    """The same-label partners of every anchor, padded to the largest class."""

    members: Tensor  # (A,P), positions in the batch; padding points anywhere
    padding: Tensor  # (A,P), True where there is none


class Slopes(NamedTuple):
    """The derivatives of a sum over triplets."""

    pulls: Tensor  # (A,P), by each positive's distance, ≥ 0
    pushes: Tensor  # (A,B), by each negative's distance, sign reversed
    active: Tensor  # scalar, the number of triplets that cost something


def triplet_sums(
    embeddings: Tensor,
    labels: Tensor,
    margin: float,
    mining: str,
    squared: bool,
    include_self: bool,
    penalty: str,
    num_anchors: int,
) -> Sums:
    """Sum the penalties of all (or the mined) triplets, with the gradient.

    Arguments: see `dml.functional.losses.triplet_loss`.

    Returns:
        The sum, its numbers of triplets above 0 and of all (or the mined) triplets, each (1,), and the gradient
        (1,B,D).

    Example:
        >>> embeddings, labels = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 0, 1])
        >>> sums = triplet_sums(embeddings, labels, 1.0, "all", True, False, "hinge", 3)
        >>> [part.tolist() for part in sums]
        [[1.0], [1.0], [2.0], [[[-2.0], [4.0], [-2.0]]]]
    """
    settings = (margin, mining, squared, include_self, penalty, num_anchors)
    whole = labels.long() if labels.dtype == torch.bool else labels  # torch.searchsorted takes no truth values
    sums: Sums = _triplet_sums(embeddings, whole, *settings)
    return sums


# an operator of its own, so that torch.compile leaves it whole
@torch.library.custom_op("dml::triplet_sums", mutates_args=())
def _triplet_sums(
    embeddings: Tensor,
    labels: Tensor,
    margin: float,
    mining: str,
    squared: bool,
    include_self: bool,
    penalty: str,
    num_anchors: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if mining != "hard" and penalty == "hinge" and num_anchors == len(labels):
        classes = classes_of(labels)
        if int(classes.sizes.max()) <= SMALL_UP_TO:
            sums = tiled_hinge_sums(embeddings, classes, Margins(margin, mining == "semihard", squared, include_self))
            partners = classes.sizes - 1 + include_self
            triplets = (partners * (len(labels) - classes.sizes)).sum().to(sums.active.dtype)[None]
            return sums.values, sums.active, sums.active.clone() if mining == "semihard" else triplets, sums.gradients
    ordered, order = labels.sort(stable=True)
    starts, ends = (torch.searchsorted(ordered, labels[:num_anchors], right=right) for right in (False, True))
    positives = positives_of(order, starts, ends - starts, include_self)

    def kernel(distances: Tensor, rows: slice) -> Sequence[Term]:
        partners = Positives(positives.members[rows], positives.padding[rows])
        return [triplet_term(distances, labels[rows, None] == labels, partners, margin, mining, penalty)]

    values, active, gradients = sum_over_anchors(embeddings, kernel, num_anchors, squared)
    sizes = ends - starts
    triplets = (sizes if include_self else sizes - 1) * (len(labels) - sizes)  # (A,), of each anchor
    mined = {"all": triplets, "semihard": active, "hard": triplets > 0}[mining]
    return values, active, mined.sum(dim=0, keepdim=True).to(active.dtype), gradients


@_triplet_sums.register_fake
def _(
    embeddings: Tensor,
    labels: Tensor,
    margin: float,
    mining: str,
    squared: bool,
    include_self: bool,
    penalty: str,
    num_anchors: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return fake_sums(embeddings, terms=1)


def positives_of(order: Tensor, starts: Tensor, sizes: Tensor, include_self: bool) -> Positives:
    """Return each anchor's positives.

    Args:
        order: (B,), the positions in the batch, class after class; the anchors are the first A positions.
        starts: (A,), where in that order each anchor's class starts.
        sizes: (A,), how many members it has.
        include_self: Whether an anchor is its own positive too.

    Example:
        >>> order, starts, sizes = torch.tensor([1, 0, 2]), torch.tensor([1, 0, 1]), torch.tensor([2, 1, 2])
        >>> members, padding = positives_of(order, starts, sizes, include_self=False)
        >>> [row[~unused].tolist() for row, unused in zip(members, padding)]
        [[2], [], [0]]
    """
    slots = torch.arange(int(sizes.max()), device=order.device)
    members = order[(starts[:, None] + slots).clamp_(max=len(order) - 1)]  # (A,P)
    padding = slots >= sizes[:, None]
    if not include_self:
        padding |= members == torch.arange(len(sizes), device=order.device)[:, None]
    return Positives(members, padding)


def triplet_term(
    distances: Tensor, same: Tensor, positives: Positives, margin: float, mining: str, penalty: str
) -> Term:
    """Return the summed penalty of all (or the mined) triplets of some anchors, and its derivative by every distance.

    Args:
        distances: (A,B), of A anchors to the batch.
        same: (A,B), whether the labels are equal.
        positives: The anchors' positives.
        margin: In units of the distances.
        mining: See `dml.functional.losses.triplet_loss`.
        penalty: Likewise.

    Example:
        >>> positives = Positives(members=torch.tensor([[1]]), padding=torch.tensor([[False]]))
        >>> distances, same = torch.tensor([[0.0, 3.0, 2.0]]), torch.tensor([[True, True, False]])
        >>> term = triplet_term(distances, same, positives, margin=1.0, mining="all", penalty="hinge")
        >>> term.value.item(), term.weights.tolist()
        (2.0, [[-0.0, 1.0, -1.0]])
    """
    near = distances.gather(1, positives.members).masked_fill_(positives.padding, -torch.inf)  # (A,P)
    far = distances.masked_fill(same, torch.inf)  # (A,B)
    if mining == "hard":
        value, slopes = _hardest(near, far, margin, penalty)
    elif penalty == "hinge":
        value, slopes = None, _hinge(near, far, margin, mining)
    elif penalty == "squared_hinge" and mining == "all":
        value, slopes = None, _squared_hinge(near, far, margin)
    else:
        value, slopes = _visited(near, far, margin, mining, penalty)
    weights = slopes.pushes.neg_().scatter_add_(1, positives.members, slopes.pulls)
    if value is None:  # a power of d_ap + margin − d_an follows from its derivatives (Euler)
        value = (weights * distances).sum() + margin * (slopes.active if penalty == "hinge" else slopes.pulls.sum())
        value = value if penalty == "hinge" else value / 2
    return Term(value, slopes.active, weights)


def _hinge(near: Tensor, far: Tensor, margin: float, mining: str) -> Slopes:
    reach = near + margin
    if mining == "semihard":  # none lies beyond the positive where the margin is rounded away, or below 0
        reach = reach.maximum(near.nextafter(near.new_tensor(torch.inf)))
    pulls, pushes = counts_below(reach, far)
    if mining == "semihard":
        inner_pulls, inner_pushes = counts_below(near, far, strict=False)  # negatives not beyond the positive
        pulls, pushes = pulls - inner_pulls, pushes - inner_pushes
    return Slopes(pulls, pushes, pulls.sum())


def _squared_hinge(near: Tensor, far: Tensor, margin: float) -> Slopes:
    pulls, pushes, active = excess_below(near + margin, far)
    return Slopes(2 * pulls, 2 * pushes, active)


def _hardest(near: Tensor, far: Tensor, margin: float, penalty: str) -> tuple[Tensor, Slopes]:
    farthest, slot = near.max(dim=1, keepdim=True)
    nearest, place = far.min(dim=1, keepdim=True)
    costs, slope = _penalise(farthest - nearest + margin, penalty)  # of −inf: no positive or no negative
    pulls = torch.zeros_like(near).scatter_(1, slot, slope)
    pushes = torch.zeros_like(far).scatter_(1, place, slope)
    return costs.sum(), Slopes(pulls, pushes, (costs > 0).sum())


def _visited(near: Tensor, far: Tensor, margin: float, mining: str, penalty: str) -> tuple[Tensor, Slopes]:
    """Visit every triplet, one positive of all anchors at a time."""
    pulls, pushes = torch.zeros_like(near), torch.zeros_like(far)
    value, active = far.new_zeros(()), far.new_zeros(())
    for slot, positive in enumerate(near.split(1, dim=1)):
        excess = positive + margin - far  # (A,B)
        if mining == "semihard":
            excess = excess.masked_fill((excess <= 0) | (far <= positive), -torch.inf)
        costs, slope = _penalise(excess, penalty)
        value += costs.sum()
        active += (costs > 0).sum()
        pulls[:, slot] = slope.sum(dim=1)
        pushes += slope
    return value, Slopes(pulls, pushes, active)


def _penalise(excess: Tensor, penalty: str) -> tuple[Tensor, Tensor]:
    """Return the penalty and its derivative; both are 0 at −inf."""
    if penalty == "softplus":
        return F.softplus(excess), excess.sigmoid()
    hinge = excess.clamp(min=0)
    return (hinge, (hinge > 0).to(hinge.dtype)) if penalty == "hinge" else (hinge.square(), 2 * hinge)
