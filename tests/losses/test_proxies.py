"""The proxy and supervised contrastive losses against loops in 64 bits and pytorch-metric-learning."""

import math

import pytest
import torch
from pytorch_metric_learning import losses

from dml.errors import UserError
from dml.functional.proxies import proxy_loss, supervised_contrastive_loss
from dml.losses import CrossBatchMemory, ProxyContrastiveLoss


def batch(count=12, classes=3, dim=4):
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1)
    return rows, torch.randint(0, classes, (count,), generator=generator)


def pairs_by_loop(rows, labels, temperature, anchors):
    found = []
    for i in range(anchors):
        similar = [math.exp(float(rows[i] @ rows[j]) / temperature) for j in range(len(rows))]
        total = sum(similar) - similar[i]
        own = [-math.log(similar[j] / total) for j in range(len(rows)) if j != i and labels[j] == labels[i]]
        if own:
            found.append(sum(own) / len(own))
    return sum(found) / len(found)


@pytest.mark.parametrize("anchors", [12, 5])
def test_pairs_are_those_of_the_loop(anchors):
    rows, labels = batch()
    labels[3] = 9  # alone in its class
    value = supervised_contrastive_loss(rows, labels, 0.2, anchors)
    assert value.item() == pytest.approx(pairs_by_loop(rows, labels, 0.2, anchors), rel=1e-12)


def test_pairs_are_those_of_the_peer():
    rows, labels = batch()
    truth = losses.SupConLoss(temperature=0.1)(rows, labels)
    torch.testing.assert_close(supervised_contrastive_loss(rows, labels, 0.1), truth)


def test_a_batch_without_positives_costs_nothing():
    rows = torch.randn(3, 2, requires_grad=True)
    loss = supervised_contrastive_loss(rows, torch.arange(3), 0.1)
    loss.backward()
    assert (loss.item(), rows.grad.abs().max().item()) == (0, 0)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_proxies_are_those_of_the_loop(smoothing):
    rows, labels = batch()
    proxies = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for row, label in zip(rows, labels, strict=True):
        logits = [float(row @ proxy) / float(proxy.norm()) / 0.5 for proxy in proxies]
        total = math.log(sum(map(math.exp, logits)))
        target = [smoothing / 3 + (1 - smoothing) * (c == int(label)) for c in range(3)]
        found.append(sum(share * (total - logit) for share, logit in zip(target, logits, strict=True)))
    assert proxy_loss(rows, labels, proxies, 0.5, smoothing).item() == pytest.approx(sum(found) / 12, rel=1e-12)
    assert proxy_loss(rows, labels.int(), proxies, 0.5, smoothing) == proxy_loss(rows, labels, proxies, 0.5, smoothing)
    for wrong in (-100, len(proxies)):
        with pytest.raises(UserError, match=rf"labels .* for {len(proxies)} proxies: give 0 to {len(proxies) - 1}"):
            proxy_loss(rows, labels.index_fill(0, torch.tensor([0]), wrong), proxies, 0.5, smoothing)


def test_without_smoothing_and_pairs_it_is_the_peers_normalized_softmax():
    rows, labels = batch()
    ours = ProxyContrastiveLoss(3, 4, temperature=0.05, pair_weight=0.0)
    theirs = losses.NormalizedSoftmaxLoss(3, 4, temperature=0.05)
    theirs.W.data = ours.proxies.data.T.clone()
    torch.testing.assert_close(ours(rows.float(), labels), theirs(rows.float(), labels))


def test_the_weighted_sum_has_the_gradient_of_its_terms():
    rows, labels = batch()
    rows = rows.float().requires_grad_()
    loss = ProxyContrastiveLoss(3, 4, 0.3, 0.1, proxy_weight=0.5, pair_weight=2.0)
    loss(rows, labels).backward()
    moved, rows.grad = rows.grad.clone(), None
    (
        0.5 * proxy_loss(rows, labels, loss.proxies, 0.3, 0.1) + 2 * supervised_contrastive_loss(rows, labels, 0.3)
    ).backward()
    torch.testing.assert_close(moved, rows.grad)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(loss(rows, labels), loss(rows, labels).float())


def test_a_memory_gives_it_more_partners():
    rows, labels = batch()
    loss = ProxyContrastiveLoss(3, 4)
    memory = CrossBatchMemory(loss, memory_size=8, embedding_dim=4)
    first, second = rows[:6].float(), rows[6:].float()
    memory(first, labels[:6])
    everyone, everyones = torch.cat([second, first]), torch.cat([labels[6:], labels[:6]])
    torch.testing.assert_close(memory(second, labels[6:]), loss(everyone, everyones, num_anchors=6))


@pytest.mark.parametrize("keys", [{}, {"num_classes": 3}, {"num_classes": 3, "embedding_dim": 4, "temperature": 0.0}])
def test_numbers_out_of_range_are_told(keys):
    with pytest.raises(UserError, match="give"):
        ProxyContrastiveLoss(**keys)


def test_embeddings_of_another_size_are_told():
    with pytest.raises(UserError, match="embeddings of size 5: set the loss's embedding_dim"):
        ProxyContrastiveLoss(3, 4)(torch.zeros(2, 5), torch.tensor([0, 1]))
