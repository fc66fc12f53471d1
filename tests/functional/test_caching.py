"""Gradient caching against the full batch."""

import warnings

import pytest
import torch
from torch import nn

from dml.functional.caching import cached_embeddings
from dml.functional.losses import triplet_loss


def encoder(*more: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.Tanh(), *more, nn.Linear(32, 4))


IMAGES, LABELS = torch.randn(30, 8, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3


def gradients(network: nn.Module, embeddings: torch.Tensor) -> list[torch.Tensor]:
    loss = triplet_loss(embeddings, LABELS, 1.0)
    return [loss.detach(), *torch.autograd.grad(loss, list(network.parameters()))]


@pytest.mark.parametrize("chunk_size", [1, 7, 30, 99])
def test_gradient_is_the_full_batchs(chunk_size: int) -> None:
    network = encoder()
    truth = gradients(network, network(IMAGES))
    torch.testing.assert_close(
        gradients(network, cached_embeddings(network, IMAGES, chunk_size)), truth, rtol=1e-5, atol=1e-6
    )


def test_dropout_drops_the_same_units_in_both_passes() -> None:
    network = encoder(nn.Dropout(0.5))
    torch.manual_seed(1)
    truth = gradients(network, torch.cat([network(chunk) for chunk in IMAGES.split(7)]))
    torch.manual_seed(1)
    torch.testing.assert_close(gradients(network, cached_embeddings(network, IMAGES, 7)), truth)


def test_the_images_alone_are_kept_between_the_passes() -> None:
    network, kept = encoder(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        network(IMAGES)
        plain = sum(kept)
        kept.clear()
        cached_embeddings(network, IMAGES, 7)
    assert plain > 30 * 32
    assert sum(kept) == IMAGES.numel()


def test_batchnorm_in_training_mode_warns() -> None:
    network = encoder(nn.BatchNorm1d(32))
    with pytest.warns(UserWarning, match="BatchNorm"):
        cached_embeddings(network, IMAGES, 7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cached_embeddings(network.eval(), IMAGES, 7)
