"""The losses against loops in float64, against torch's own, and on degenerate batches."""

from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor

from dml.errors import UserError
from dml.functional import counting, pairwise, triplet_tiles, triplets
from dml.functional.losses import contrastive_loss, pull_loss, triplet_loss

REDUCTIONS = ["mean", "mean_nonzero", "sum", "mean_all"]


def batch(size: int = 13, classes: int = 3, dim: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(size, dim, generator=generator, dtype=torch.float64)
    return embeddings.requires_grad_(), torch.randint(classes, (size,), generator=generator)


def reduce(losses: list[Tensor], reduction: str, everything: int) -> Tensor:
    total = torch.stack(losses).sum() if losses else torch.tensor(0.0)
    nonzero = sum(bool(loss > 0) for loss in losses)
    return (
        total
        / {"mean": max(1, len(losses)), "mean_nonzero": max(1, nonzero), "sum": 1, "mean_all": everything}[reduction]
    )


def triplet_excesses(
    embeddings: Tensor, labels: Tensor, margin: float, mining: str, squared: bool, own: bool
) -> list[Tensor]:
    """d_ap − d_an + margin of every triplet, one after another."""
    size, excesses = len(labels), []
    for a in range(size):
        triples = []
        for p, n in product(range(size), range(size)):
            if labels[p] == labels[a] != labels[n] and (own or p != a):
                near, far = ((embeddings[a] - embeddings[i]).square().sum() for i in (p, n))
                triples.append((near, far) if squared else (near.sqrt() if p != a else near, far.sqrt()))
        if mining == "semihard":
            triples = [(near, far) for near, far in triples if near < far < near + margin]
        if mining == "hard":
            triples = [(max(t[0] for t in triples), min(t[1] for t in triples))] if triples else []
        excesses += [near - far + margin for near, far in triples]
    return excesses


PENALTIES = {
    "hinge": lambda x: x.clamp(min=0),
    "squared_hinge": lambda x: x.clamp(min=0) ** 2,
    "softplus": lambda x: (1 + x.exp()).log(),
}


def choose_way(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tiles, comparisons or sorting count."""
    monkeypatch.setattr(triplets, "SMALL_UP_TO", 99 if way == "tiles" else 0)
    monkeypatch.setattr(triplet_tiles, "TILE_ROWS", 6)  # no more than a class
    monkeypatch.setattr(counting, "DIRECT_UP_TO", 99 if way == "comparisons" else 0)
    monkeypatch.setattr(pairwise, "CHUNK_ENTRIES", 60)  # four anchors at a time


@pytest.mark.parametrize("way", ["tiles", "comparisons", "sorting"])
@pytest.mark.parametrize("mining", ["all", "semihard", "hard"])
@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_triplet_loss_is_the_triple_loop(
    mining: str, squared: bool, own: bool, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_way(way, monkeypatch)
    embeddings, labels = batch()
    excesses = triplet_excesses(embeddings, labels, 1.5, mining, squared, own)
    for (penalty, costs), reduction in product(PENALTIES.items(), REDUCTIONS):
        truth = reduce([costs(x) for x in excesses], reduction, 13**3)
        ours = triplet_loss(embeddings, labels, 1.5, mining, squared, reduction, own, penalty)
        torch.testing.assert_close(ours, truth, rtol=1e-8, atol=1e-12)
        gradients = [torch.autograd.grad(loss, embeddings, retain_graph=True)[0] for loss in (ours, truth)]
        torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_pair_losses_are_the_double_loop(reduction: str) -> None:
    embeddings, labels = batch()
    pairs = [(i, j) for i, j in product(range(13), range(13)) if i != j]
    squares = {(i, j): (embeddings[i] - embeddings[j]).square().sum() for i, j in pairs}
    same = [squares[i, j] for i, j in pairs if labels[i] == labels[j]]
    other = [squares[i, j] for i, j in pairs if labels[i] != labels[j]]
    far, near = [(d - 2.0).clamp(min=0) for d in same], [(9.0 - d).clamp(min=0) for d in other]
    contrastive = reduce(far, reduction, 13**2) + 0.75 * reduce(near, reduction, 13**2)
    for ours, truth in [
        (pull_loss(embeddings, labels, reduction), reduce(same, reduction, 13**2)),
        (contrastive_loss(embeddings, labels, 2.0, 9.0, 0.75, reduction), contrastive),
    ]:
        torch.testing.assert_close(ours, truth, rtol=1e-10, atol=1e-12)
        gradients = [torch.autograd.grad(loss, embeddings, retain_graph=True)[0] for loss in (ours, truth)]
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-11)


def test_triplet_loss_is_torchs_on_its_triplets() -> None:
    embeddings, labels = batch(size=10, classes=2)
    valid = [(a, p, n) for a, p, n in product(range(10), repeat=3) if labels[a] == labels[p] != labels[n] and a != p]
    a, p, n = torch.tensor(valid).T
    truth = torch.nn.TripletMarginLoss(margin=0.7, eps=0.0)(embeddings[a], embeddings[p], embeddings[n])
    torch.testing.assert_close(triplet_loss(embeddings, labels, 0.7, squared=False), truth)


@pytest.mark.parametrize("margin", [-1.5, 0.0, 1e-18])
@pytest.mark.parametrize("way", ["tiles", "comparisons", "sorting"])
def test_without_a_margin_nothing_is_semihard(way: str, margin: float, monkeypatch: pytest.MonkeyPatch) -> None:
    choose_way(way, monkeypatch)
    size = 12
    places, _ = batch(size // 2)
    embeddings = torch.cat([places, places])  # every positive ties with a negative
    labels = torch.arange(size) // (size // 2)
    assert not triplet_excesses(embeddings, labels, margin, "semihard", True, False)
    for penalty, reduction in product(PENALTIES, REDUCTIONS):
        loss = triplet_loss(embeddings, labels, margin, "semihard", True, reduction, False, penalty)
        (gradient,) = torch.autograd.grad(loss, places)
        assert loss == 0
        assert (gradient == 0).all()


@pytest.mark.parametrize("mining", ["all", "semihard", "hard"])
def test_truth_values_are_labels(mining: str) -> None:
    embeddings, labels = batch(classes=2)
    for loss in (
        lambda labels: triplet_loss(embeddings, labels, 1.5, mining),
        lambda labels: contrastive_loss(embeddings, labels, 0.1, 9.0),
        lambda labels: pull_loss(embeddings, labels),
    ):
        torch.testing.assert_close(loss(labels.bool()), loss(labels), rtol=0, atol=0)


@pytest.mark.parametrize("mining", ["all", "semihard", "hard"])
def test_gradcheck(mining: str) -> None:
    embeddings, labels = batch(size=8, classes=2)
    for squared, penalty in product((True, False), PENALTIES):
        settings = {"mining": mining, "squared": squared, "penalty": penalty}
        assert torch.autograd.gradcheck(lambda e: triplet_loss(e, labels, 1.0, **settings), embeddings)  # noqa: B023
    assert torch.autograd.gradcheck(lambda e: contrastive_loss(e, labels, 0.5, 9.0), embeddings)
    assert torch.autograd.gradcheck(lambda e: pull_loss(e, labels), embeddings)


ALL = [
    pull_loss,
    lambda e, y: contrastive_loss(e, y, 0.1, 0.95),
    *(
        lambda e, y, m=m, s=s, p=p: triplet_loss(e, y, 0.7, m, s, penalty=p)
        for m, s, p in product(("all", "semihard", "hard"), (True, False), PENALTIES)
    ),
]


@pytest.mark.parametrize("loss", ALL)
def test_no_tuple_gives_zero_and_zero_gradient(loss) -> None:
    lone = torch.ones(1, 3, requires_grad=True)
    value = loss(lone, torch.zeros(1, dtype=torch.int64))
    value.backward()
    assert value == 0
    assert (lone.grad == 0).all()


@pytest.mark.parametrize("loss", ALL)
def test_equal_embeddings_have_a_finite_gradient(loss) -> None:
    embeddings = torch.full((6, 3), 0.3, requires_grad=True)
    loss(embeddings, torch.arange(6) % 2).backward()
    assert (embeddings.grad == 0).all()


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_an_embedding_that_is_not_finite_shows(loss, poison: float) -> None:
    embeddings = torch.randn(6, 3)
    embeddings[2, 1] = poison
    assert loss(embeddings, torch.arange(6) % 2).isnan()


def test_all_equal_triplets_cost_the_margin_and_one_class_nothing() -> None:
    equal = torch.full((6, 3), 0.3)
    assert triplet_loss(equal, torch.arange(6) % 2, 0.7).item() == pytest.approx(0.7)
    assert triplet_loss(torch.randn(6, 3), torch.zeros(6), 0.7) == 0


def test_unknown_names_and_shapes_are_refused() -> None:
    embeddings, labels = torch.zeros(4, 2), torch.zeros(4)
    with pytest.raises(UserError, match="reduction='max': choose mean"):
        pull_loss(embeddings, labels, "max")
    with pytest.raises(UserError, match="mining='easy': choose all"):
        triplet_loss(embeddings, labels, 1.0, "easy")
    with pytest.raises(UserError, match="do not fit"):
        pull_loss(embeddings, labels[:3])


@pytest.mark.parametrize(
    "loss", [pull_loss, partial(contrastive_loss, pos_margin=0.0, neg_margin=1.0), partial(triplet_loss, margin=0.3)]
)
def test_gradients_of_half_precision_are_rounded_once_and_last(loss) -> None:
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(12, 5, generator=generator).half().requires_grad_()
    whole = half.detach().double().requires_grad_()
    for rows in (half, whole):
        (loss(rows, torch.arange(12) % 3) * 2.0**-14 * 2.0**16).backward()  # as a scaler does
        assert rows.grad is not None
    torch.testing.assert_close(half.grad.double(), whole.grad, rtol=2**-10, atol=1e-7)
