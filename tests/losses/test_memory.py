"""The cross-batch memory against the union of batches, as a queue, in the state dict, and around a peer's loss."""

import pytest
import torch
from pytorch_metric_learning import losses

from dml.errors import UserError
from dml.losses import ContrastiveLoss, CrossBatchMemory, PullLoss, TripletLoss


def batches(count: int, size: int = 6) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    embeddings = [torch.randn(size, 3, generator=generator).requires_grad_() for _ in range(count)]
    return [(e, torch.arange(size) % 2) for e in embeddings]


@pytest.mark.parametrize("loss", [PullLoss(), ContrastiveLoss(0.1, 9.0), TripletLoss(1.0), TripletLoss(1.0, "hard")])
def test_partners_are_this_batch_and_the_remembered(loss: torch.nn.Module) -> None:
    memory = CrossBatchMemory(loss, memory_size=12, embedding_dim=3)
    *earlier, (embeddings, labels) = batches(4)
    for batch in earlier:
        memory(*batch)
    remembered = torch.cat([e.detach() for e, _ in earlier[-2:]])
    union, all_labels = torch.cat([embeddings, remembered]), labels.repeat(3)
    value, truth = memory(embeddings, labels), loss(union, all_labels, num_anchors=6)
    torch.testing.assert_close(value, truth)
    torch.testing.assert_close(*(torch.autograd.grad(v, embeddings)[0] for v in (value, truth)))


def test_anchors_are_the_first_rows() -> None:
    (embeddings, labels), *_ = batches(1)
    distances = torch.cdist(embeddings.double(), embeddings.double())[:2].square()
    pulls = [distances[i, j] for i in range(2) for j in range(6) if i != j and labels[i] == labels[j]]
    torch.testing.assert_close(PullLoss()(embeddings, labels, num_anchors=2), torch.stack(pulls).mean().float())
    hinges = [
        (distances[a, p] - distances[a, n] + 1).clamp(min=0)
        for a in range(2)
        for p in range(6)
        for n in range(6)
        if a != p and labels[a] == labels[p] != labels[n]
    ]
    truth = torch.stack(hinges).mean().float()
    torch.testing.assert_close(TripletLoss(1.0)(embeddings, labels, num_anchors=2), truth)


def test_a_peers_loss_has_the_value_that_the_peers_own_memory_gives() -> None:
    loss = losses.MultiSimilarityLoss()
    ours, theirs = CrossBatchMemory(loss, 12, 3), losses.CrossBatchMemory(loss, embedding_size=3, memory_size=18)
    for embeddings, labels in batches(3):  # theirs counts this batch among the remembered
        torch.testing.assert_close(ours(embeddings, labels), theirs(embeddings, labels))


def test_queue_is_a_ring_that_survives_a_checkpoint() -> None:
    first, second = (CrossBatchMemory(PullLoss(), 8, 3) for _ in range(2))
    sent = batches(5)
    for batch in sent[:3]:
        first(*batch)
    assert (first.pointer, first.filled) == (18 % 8, 8)
    newest = torch.cat([e.detach() for e, _ in sent[:3]])[-8:]
    assert {tuple(row) for row in first.queue.tolist()} == {tuple(row) for row in newest.tolist()}
    second.load_state_dict(first.state_dict())
    for batch in sent[3:]:
        assert first(*batch) == second(*batch)


def test_a_batch_larger_than_the_memory_leaves_its_last_rows() -> None:
    memory = CrossBatchMemory(PullLoss(), 4, 3)
    (embeddings, labels), *_ = batches(1)
    memory(embeddings, labels)
    assert (memory.queue == embeddings[-4:]).all()


def test_evaluation_is_the_bare_loss_and_remembers_nothing() -> None:
    memory = CrossBatchMemory(PullLoss(), 8, 3)
    first, second = batches(2)
    memory(*first)
    memory.eval()
    assert memory(*second) == PullLoss()(*second)
    assert memory.filled == 6


def test_another_size_is_refused() -> None:
    with pytest.raises(UserError, match="embedding_dim"):
        CrossBatchMemory(PullLoss(), 8, 5)(*batches(1)[0])
