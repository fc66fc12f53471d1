"""The nested loss against the sum of losses built for each width, by hand; what cannot be nested is refused."""

import pytest
import torch
from pytorch_metric_learning import losses, miners
from torch import nn

from dml.encoders import LinearEncoder
from dml.errors import UserError
from dml.losses import ContrastiveLoss, CrossBatchMemory, MatryoshkaLoss, PullLoss, TripletLoss, UnlabelledLoss
from dml.losses.pml import recall, remembered, takes_tuples
from dml.modules import EmbeddingModule

DIMS = [2, 5, 8]


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    embeddings = torch.randn(12, 8, generator=torch.Generator().manual_seed(seed))
    return embeddings.requires_grad_(), torch.arange(12) % 3


@pytest.mark.parametrize(
    "loss",
    [
        TripletLoss(0.5),
        ContrastiveLoss(0.1, 4.0),
        losses.MultiSimilarityLoss(),
        losses.TripletMarginLoss(),
        losses.SupConLoss(),
        losses.MarginLoss(learn_beta=True, num_classes=3),
    ],
)
def test_it_is_the_weighted_sum_over_widths_with_its_gradient(loss: nn.Module) -> None:
    embeddings, labels = batch()
    value = MatryoshkaLoss(loss, DIMS, [1.0, 0.5, 2.0])(embeddings, labels)
    truth = sum(w * loss(embeddings[:, :d], labels) for d, w in zip(DIMS, [1.0, 0.5, 2.0], strict=True))
    torch.testing.assert_close(value, truth)
    torch.testing.assert_close(*(torch.autograd.grad(v, embeddings)[0] for v in (value, truth)))


@pytest.mark.parametrize(
    "build",
    [
        lambda size: losses.ProxyAnchorLoss(3, size),
        lambda size: losses.ProxyNCALoss(3, size),
        lambda size: losses.ArcFaceLoss(3, size),
        lambda size: losses.NormalizedSoftmaxLoss(3, size),
        lambda size: losses.SoftTripleLoss(3, size, centers_per_class=2),
    ],
)
def test_proxies_are_the_first_coordinates_and_learnt_apart(build) -> None:
    torch.manual_seed(0)
    whole = build(8)
    nested, separate = MatryoshkaLoss(whole, DIMS), []
    for dim in DIMS:
        loss = build(dim)
        for own, full in zip(loss.parameters(), whole.parameters(), strict=True):
            axis = full.shape.index(8)
            own.data = full.data.narrow(axis, 0, dim).clone()
        separate.append(loss)
    embeddings, labels = batch()
    value, truth = (
        nested(embeddings, labels),
        sum(f(embeddings[:, :d], labels) for f, d in zip(separate, DIMS, strict=True)),
    )
    torch.testing.assert_close(value, truth)
    mine, theirs = list(nested.parameters()), [p for loss in separate for p in loss.parameters()]
    gradients = [torch.autograd.grad(v, [embeddings, *p]) for v, p in ((value, mine), (truth, theirs))]
    for own, their in zip(*gradients, strict=True):
        torch.testing.assert_close(own, their)
    assert nested.num_classes in (None, 3)


def test_a_list_gives_each_width_its_own_loss() -> None:
    embeddings, labels = batch()
    parts = [TripletLoss(0.1), PullLoss()]
    value = MatryoshkaLoss(parts, [3, 8])(embeddings, labels)
    torch.testing.assert_close(value, parts[0](embeddings[:, :3], labels) + parts[1](embeddings, labels))


def test_prefixes_are_brought_to_length_one_on_demand() -> None:
    embeddings, labels = batch()
    value = MatryoshkaLoss(PullLoss(), [3, 8], normalize=True)(embeddings, labels)
    unit = [nn.functional.normalize(embeddings[:, :d]) for d in (3, 8)]
    torch.testing.assert_close(value, PullLoss()(unit[0], labels) + PullLoss()(unit[1], labels))


@pytest.mark.parametrize("loss", [TripletLoss(0.5), losses.MultiSimilarityLoss()])
def test_a_memory_stands_outside(loss: nn.Module) -> None:
    nested = CrossBatchMemory(MatryoshkaLoss(loss, DIMS), memory_size=24, embedding_dim=8)
    single = [CrossBatchMemory(loss, memory_size=24, embedding_dim=dim) for dim in DIMS]
    for seed in range(3):
        embeddings, labels = batch(seed)
        truth = sum(memory(embeddings[:, :d], labels) for memory, d in zip(single, DIMS, strict=True))
        torch.testing.assert_close(nested(embeddings, labels), truth)


def test_a_miner_looks_at_the_whole_embedding() -> None:
    embeddings, labels = batch()
    tuples = miners.MultiSimilarityMiner(epsilon=0.5)(embeddings, labels)
    loss = losses.MultiSimilarityLoss()
    nested = MatryoshkaLoss(loss, [3, 8])
    torch.testing.assert_close(
        nested(embeddings, labels, tuples), loss(embeddings[:, :3], labels, tuples) + loss(embeddings, labels, tuples)
    )
    assert takes_tuples(nested)
    assert not takes_tuples(MatryoshkaLoss(TripletLoss(0.5), [3, 8]))
    with pytest.raises(UserError, match="takes no miner"):
        EmbeddingModule(LinearEncoder(8), MatryoshkaLoss(TripletLoss(0.5), [3, 8]), miners.BatchHardMiner())


class RunningMean(nn.Module):
    """Remembers the mean of what it saw outside its state dict, as DynamicSoftMarginLoss does its histogram."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(())

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.mean = 0.5 * self.mean + 0.5 * embeddings.mean()
        return self.mean


def test_what_each_width_remembers_is_kept_apart_and_comes_back() -> None:
    first, second = (MatryoshkaLoss(RunningMean(), [4, 8]) for _ in range(2))
    batches = [batch(seed)[0].detach() for seed in range(2)]
    first(batches[0], None)
    kept = remembered(first)
    assert kept["losses.0"]["mean"] == batches[0][:, :4].mean() / 2
    recall(second, kept)
    torch.testing.assert_close(first(batches[1], None), second(batches[1], None))


def test_the_state_dict_goes_round() -> None:
    one, two = (MatryoshkaLoss(losses.ArcFaceLoss(3, 8), DIMS) for _ in range(2))
    embeddings, labels = batch()
    two.load_state_dict(one.state_dict())
    torch.testing.assert_close(one(embeddings, labels), two(embeddings, labels))


def test_the_latest_batch_can_be_measured_and_too_few_proxies_are_told() -> None:
    module = EmbeddingModule(LinearEncoder(8), MatryoshkaLoss(TripletLoss(0.5), [4, 8]))
    module._latest = batch()
    assert module.measure_latest()["loss_if_collapsed"] == pytest.approx(1.0)  # 0.5 of each width
    assert MatryoshkaLoss(losses.ProxyAnchorLoss(3, 8), [4, 8]).num_classes == 3


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: MatryoshkaLoss(PullLoss(), [8, 4]), "ascending"),
        (lambda: MatryoshkaLoss(PullLoss(), []), "at least one"),
        (lambda: MatryoshkaLoss(PullLoss(), [4, 8], [1.0]), "1 in weights for 2 in dims"),
        (lambda: MatryoshkaLoss(PullLoss(), [4, 8], [1.0, -1.0]), "at least 0"),
        (lambda: MatryoshkaLoss([PullLoss()], [4, 8]), "1 in loss for 2 in dims"),
        (lambda: MatryoshkaLoss(PullLoss(), [4, 16])(*batch()), "size 8 and dims"),
        (lambda: MatryoshkaLoss(losses.ArcFaceLoss(8, 8), [4, 8]), "give a list"),
        (lambda: MatryoshkaLoss(losses.ArcFaceLoss(3, 16), [4, 8]), "no axis as long as the last of dims, 8"),
        (lambda: MatryoshkaLoss(CrossBatchMemory(PullLoss(), 9, 8), [4, 8]), "outside"),
        (lambda: MatryoshkaLoss(losses.CrossBatchMemory(losses.ContrastiveLoss(), 8), [4, 8]), "outside"),
    ],
)
def test_what_cannot_be_nested_is_refused(build, told: str) -> None:
    with pytest.raises(UserError, match=told):
        build()


def test_a_loss_without_labels_is_nested_too() -> None:
    embeddings, labels = batch()
    each = [UnlabelledLoss(losses.ManifoldLoss(l=dim, K=2), views=1) for dim in (4, 8)]
    assert torch.isfinite(MatryoshkaLoss(each, [4, 8])(embeddings, labels))
