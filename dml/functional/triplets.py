"""What the triplets of a batch cost and how that changes with each distance; it lists none and forms no gradients."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dml.functional.counting import counts_below, excess_below
from dml.functional.pairwise import Term, fake_sums, sum_over_anchors

Mining = Literal["all", "semihard", "hard"]
Penalty = Literal["hinge", "squared_hinge", "softplus"]


class Positives(NamedTuple):
    """The same-label partners of every anchor, padded to the largest class."""

    members: Tensor  # (A,P), positions in the batch; padding points anywhere
    valid: Tensor  # (A,P), False at padding


class Slopes(NamedTuple):
    """The derivatives of a sum over triplets."""

    pulls: Tensor  # (A,P), by each positive's distance, ≥ 0
    pushes: Tensor  # (A,B), by each negative's distance, sign reversed
    active: Tensor  # scalar, the number of triplets that cost something


@torch.library.custom_op("dml::triplet_sums", mutates_args=())
def triplet_sums(
    embeddings: Tensor,
    labels: Tensor,
    margin: float,
    mining: str,
    squared: bool,
    include_self: bool,
    penalty: str,
    num_anchors: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sum the penalties of all (or the mined) triplets, with the gradient.

    It is an operator of its own, so that `torch.compile` leaves it whole. Arguments: see
    `dml.functional.losses.triplet_loss`.

    Returns:
        The sum, its numbers of triplets above 0 and of all (or the mined) triplets, each (1,), and the gradient
        (1,B,D).

    Example:
        >>> embeddings, labels = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 0, 1])
        >>> sums = triplet_sums(embeddings, labels, 1.0, "all", True, False, "hinge", 3)
        >>> [part.tolist() for part in sums]
        [[1.0], [1.0], [2.0], [[[-2.0], [4.0], [-2.0]]]]
    """
    positives = positives_of(labels, num_anchors, include_self)

    def kernel(distances: Tensor, rows: slice) -> Sequence[Term]:
        partners = Positives(positives.members[rows], positives.valid[rows])
        return [triplet_term(distances, labels[rows, None] == labels, partners, margin, mining, penalty)]

    values, active, gradients = sum_over_anchors(embeddings, kernel, num_anchors, squared)
    valid = active if mining == "semihard" else _count(positives, labels, mining).to(active.dtype)
    return values, active, valid.clone(), gradients


@triplet_sums.register_fake
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


def _count(positives: Positives, labels: Tensor, mining: str) -> Tensor:
    """Count all triplets, or for `hard` the anchors that have one, as (1,)."""
    _, classes, sizes = labels.unique(return_inverse=True, return_counts=True)
    negatives = len(labels) - sizes[classes[: len(positives.valid)]]
    triplets = positives.valid.sum(dim=1) * negatives
    counted: Tensor = triplets > 0 if mining == "hard" else triplets
    return counted.sum(dim=0, keepdim=True)


def positives_of(labels: Tensor, num_anchors: int, include_self: bool) -> Positives:
    """Return each anchor's positives.

    Args:
        labels: (B,).
        num_anchors: The first so many are anchors.
        include_self: Whether an anchor is its own positive too.

    Example:
        >>> members, valid = positives_of(torch.tensor([7, 5, 7]), num_anchors=3, include_self=False)
        >>> [row[kept].tolist() for row, kept in zip(members, valid)]
        [[2], [], [0]]
    """
    _, classes, sizes = labels.unique(return_inverse=True, return_counts=True)
    by_class = classes.argsort(stable=True)  # (B,), class after class
    anchors = classes[:num_anchors]
    slots = torch.arange(int(sizes.max()), device=labels.device)
    starts = (sizes.cumsum(dim=0) - sizes)[anchors, None]
    members = by_class[(starts + slots).clamp(max=len(labels) - 1)]  # (A,P)
    valid = slots < sizes[anchors, None]
    if not include_self:
        valid &= members != torch.arange(num_anchors, device=labels.device)[:, None]
    return Positives(members, valid)


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
        >>> positives = Positives(members=torch.tensor([[1]]), valid=torch.tensor([[True]]))
        >>> distances, same = torch.tensor([[0.0, 3.0, 2.0]]), torch.tensor([[True, True, False]])
        >>> term = triplet_term(distances, same, positives, margin=1.0, mining="all", penalty="hinge")
        >>> term.value.item(), term.weights.tolist()
        (2.0, [[-0.0, 1.0, -1.0]])
    """
    near = distances.gather(1, positives.members).masked_fill_(~positives.valid, -torch.inf)  # (A,P)
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
        power = 1 if penalty == "hinge" else 2
        value = ((weights * distances).sum() + margin * slopes.pulls.sum()) / power
    return Term(value, slopes.active, weights)


def _hinge(near: Tensor, far: Tensor, margin: float, mining: str) -> Slopes:
    pulls, pushes = counts_below(near + margin, far)
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
