"""The losses as users meet them: beside pytorch-metric-learning, under autocast, compiled, deterministic, in copies."""

import copy

import pytest
import torch
from pytorch_metric_learning import distances, losses, miners, reducers
from torch import Tensor, nn

from dml.losses import ContrastiveLoss, PullLoss, TripletLoss

OURS = [
    PullLoss(),
    ContrastiveLoss(0.1, 1.5, 0.75),
    *(TripletLoss(0.3, mining) for mining in ("all", "semihard", "hard")),
    TripletLoss(0.3, squared=False, reduction="mean_nonzero"),
    TripletLoss(0.3, penalty="squared_hinge"),
    TripletLoss(0.3, penalty="softplus", include_self=True),
]


def batch(size: int = 60, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    embeddings = nn.functional.normalize(torch.randn(size, 16, generator=generator, dtype=dtype))
    return embeddings.requires_grad_(), torch.arange(size) % 3  # 20 of a class: the sorted form


def value_and_gradient(loss: nn.Module, embeddings: Tensor, labels: Tensor, *more: object) -> tuple[Tensor, Tensor]:
    value = loss(embeddings, labels, *more)
    return value.detach(), torch.autograd.grad(value, embeddings)[0]


def peer(power: int, **settings: object) -> nn.Module:
    distance = distances.LpDistance(normalize_embeddings=False, p=2, power=power)
    return losses.TripletMarginLoss(margin=0.3, distance=distance, **settings)


@pytest.mark.parametrize("squared", [True, False])
def test_triplets_are_pytorch_metric_learnings(squared: bool) -> None:
    embeddings, labels = batch(dtype=torch.float64)
    power = 2 if squared else 1
    distance = distances.LpDistance(normalize_embeddings=False, p=2, power=power)
    semihard = miners.TripletMarginMiner(margin=0.3, type_of_triplets="semihard", distance=distance)
    hard = miners.BatchHardMiner(distance=distance)
    mean, soft = {"reducer": reducers.MeanReducer()}, {"smooth_loss": True, "reducer": reducers.MeanReducer()}
    for ours, theirs, miner in [
        (TripletLoss(0.3, squared=squared), peer(power, **mean), None),
        (TripletLoss(0.3, squared=squared, reduction="mean_nonzero"), peer(power), None),
        (TripletLoss(0.3, squared=squared, penalty="softplus"), peer(power, **soft), None),
        (TripletLoss(0.3, "semihard", squared), peer(power, **mean), semihard),
        (TripletLoss(0.3, "hard", squared), peer(power, **mean), hard),
    ]:
        mined = [miner(embeddings, labels)] if miner else []
        truth = value_and_gradient(theirs, embeddings, labels, *mined)
        torch.testing.assert_close(value_and_gradient(ours, embeddings, labels), truth)


def test_contrastive_is_pytorch_metric_learnings() -> None:
    embeddings, labels = batch(dtype=torch.float64)
    distance = distances.LpDistance(normalize_embeddings=False, p=2, power=2)
    theirs = losses.ContrastiveLoss(0.1, 1.5, distance=distance)  # each term a mean over its own non-zero pairs
    ours = ContrastiveLoss(0.1, 1.5, reduction="mean_nonzero")
    truth = value_and_gradient(theirs, embeddings, labels)
    torch.testing.assert_close(value_and_gradient(ours, embeddings, labels), truth)


@pytest.mark.parametrize("loss", OURS)
def test_autocast_computes_distances_in_full(loss: nn.Module) -> None:
    embeddings, labels = batch()
    truth = value_and_gradient(loss, embeddings, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert all((a == b).all() for a, b in zip(value_and_gradient(loss, embeddings, labels), truth, strict=True))
    for dtype in (torch.bfloat16, torch.float16):
        rough = embeddings.detach().to(dtype)
        value, gradient = value_and_gradient(loss, rough.requires_grad_(), labels)
        assert (value.dtype, gradient.dtype) == (torch.float32, dtype)
        torch.testing.assert_close(value, loss(rough.float(), labels))


@pytest.mark.parametrize("loss", OURS)
def test_deterministic_mode(loss: nn.Module) -> None:
    embeddings, labels = batch()
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (value_and_gradient(loss, embeddings, labels) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_order_of_the_batch_does_not_matter() -> None:
    embeddings, labels = batch()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    for loss in OURS:
        torch.testing.assert_close(loss(embeddings[order], labels[order]), loss(embeddings, labels))


@pytest.mark.parametrize("loss", OURS)
def test_torch_compile_does_not_break_it(loss: nn.Module) -> None:
    embeddings, labels = batch()

    def step(embeddings: Tensor, labels: Tensor) -> Tensor:
        return 2 * loss(embeddings * 1.5, labels)

    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(
        value_and_gradient(compiled, embeddings, labels), value_and_gradient(step, embeddings, labels)
    )


def test_losses_hold_no_state_and_can_be_copied() -> None:
    embeddings, labels = batch()
    for loss in OURS:
        assert not loss.state_dict()
        assert copy.deepcopy(loss)(embeddings, labels) == loss(embeddings, labels)


def test_the_reference_experiments_losses() -> None:
    """Mean over all B² or B³ entries of masked matrices, the anchor itself counted as a positive."""
    embeddings, labels = batch(12, torch.float64)
    d2 = (embeddings[:, None] - embeddings).square().sum(dim=2)
    same = (labels[:, None] == labels).double()
    contrastive = ((d2 - 0.1).clamp(min=0) * same).mean() + 0.75 * ((0.95 - d2).clamp(min=0) * (1 - same)).mean()
    hinges = (d2[:, :, None] - d2[:, None, :] + 0.7).clamp(min=0) * same[:, :, None] * (1 - same)[:, None, :]
    torch.testing.assert_close(PullLoss("mean_all")(embeddings, labels), (d2 * same).mean())
    torch.testing.assert_close(ContrastiveLoss(0.1, 0.95, 0.75, "mean_all")(embeddings, labels), contrastive)
    ours = TripletLoss(0.7, reduction="mean_all", include_self=True)
    torch.testing.assert_close(ours(embeddings, labels), hinges.mean())
