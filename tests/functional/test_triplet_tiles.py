"""Triplets of small classes against loops in float64 over anchors, where tiles meet, and at ties."""

import pytest
import torch
from torch import Tensor

from dml.functional import counting, triplet_tiles
from dml.functional.losses import triplet_loss
from dml.functional.triplets import triplet_sums


def draw(size: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Embeddings, and labels of uneven small classes, some of one member alone."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(size, dim, generator=generator)
    return embeddings, torch.randint(size // 3, (size,), generator=generator) * 7 - 40


def loop(embeddings: Tensor, labels: Tensor, margin: float, semihard: bool, squared: bool) -> tuple[float, int, Tensor]:
    """The sum, its number of positive hinges and the gradient, one anchor after another."""
    points = embeddings.double().requires_grad_()
    total, active = torch.zeros((), dtype=torch.float64), 0
    for anchor, label in enumerate(labels):
        positive, negative = labels == label, labels != label
        positive[anchor] = False
        distances = (points[anchor] - points).square().sum(dim=1)
        near, far = distances[positive][:, None], distances[negative]
        if not squared:
            near, far = near.sqrt(), far.sqrt()
        hinges = (near - far + margin).clamp(min=0)
        if semihard:
            hinges = hinges * (far > near)
        total, active = total + hinges.sum(), active + int((hinges > 0).sum())
    (gradient,) = torch.autograd.grad(total, points)
    return total.item(), active, gradient


@pytest.mark.parametrize("tile_rows", [5, 64, 512])
@pytest.mark.parametrize("semihard", [False, True])
@pytest.mark.parametrize("squared", [True, False])
def test_sums_are_the_loops_wherever_tiles_meet(
    tile_rows: int, semihard: bool, squared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triplet_tiles, "TILE_ROWS", tile_rows)
    embeddings, labels = draw(150, 9)
    value, active, gradient = loop(embeddings, labels, 1.3, semihard, squared)
    mining = "semihard" if semihard else "all"
    sums = triplet_sums(embeddings, labels, 1.3, mining, squared, False, "hinge", len(labels))
    assert sums[0].item() == pytest.approx(value, rel=1e-12)
    assert sums[1].item() == active
    torch.testing.assert_close(sums[3][0], gradient, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("squared", [True, False])
def test_a_cluster_far_from_zero_keeps_its_digits(squared: bool) -> None:
    embeddings, labels = draw(150, 9)
    embeddings = 100 + 1e-3 * embeddings
    value, active, gradient = loop(embeddings, labels, 1e-6, False, squared)
    sums = triplet_sums(embeddings, labels, 1e-6, "all", squared, False, "hinge", len(labels))
    assert sums[1].item() == active
    assert sums[0].item() == pytest.approx(value, rel=1e-9)
    assert (sums[3][0] - gradient).norm() < 1e-9 * gradient.norm()


@pytest.mark.parametrize("squared", [True, False])
def test_negatives_exactly_as_far_as_the_positives_cost_nothing(squared: bool) -> None:
    places = draw(40, 9)[0]
    embeddings = torch.cat([places, places, places, places])  # two classes at each place: all its distances are 0
    labels = torch.cat([torch.arange(40), torch.arange(40), torch.arange(40, 80), torch.arange(40, 80)])
    sums = triplet_sums(embeddings, labels, 0.0, "all", squared, False, "hinge", len(labels))
    assert [part.item() for part in sums[:3]] == [0, 0, 160 * 158]
    assert (sums[3] == 0).all()


def test_small_classes_are_not_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("sorted")

    monkeypatch.setattr(counting, "_sorted_gaps", refuse)
    embeddings = draw(96, 4)[0]
    assert triplet_loss(embeddings, torch.arange(96) // 12, 0.5).isfinite()
    with pytest.raises(AssertionError, match="sorted"):
        triplet_loss(embeddings, torch.arange(96) // 48, 0.5)
