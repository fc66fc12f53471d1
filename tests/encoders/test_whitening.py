"""Whitened patches against NumPy, what a training makes of them, and the encoders that stand on them."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from dml.data import ImageData, StratifiedSplit
from dml.encoders import (
    FlattenEncoder,
    ResidualEncoder,
    ViewAveragedEncoder,
    WhitenedConvEncoder,
    WhitenedPatches,
    layers_of,
    materialize,
)
from dml.encoders.convolutions import DiracConv2d
from dml.errors import UserError
from dml.losses import TripletLoss
from dml.modules import EmbeddingModule


def images(count=6, channels=3, side=9):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, channels, side, side, generator=generator)
    return noise.cumsum(dim=2).cumsum(dim=3) / 5 + 1  # neighbours alike, as in photographs


def patches_by_loop(batch, size):
    pixels = batch.double().numpy()
    sides = range(pixels.shape[2] - size + 1), range(pixels.shape[3] - size + 1)
    return np.array([x[:, i : i + size, j : j + size].ravel() for x in pixels for i in sides[0] for j in sides[1]])


@pytest.mark.parametrize("size", [2, 3])
def test_responses_are_uncorrelated_and_of_variance_one(size):
    layer = WhitenedPatches(size, eps=1e-9)
    layer.take_patches([images()[:4], images()[4:]])
    responses = layer(images())
    count = 3 * size**2
    assert responses.shape == (6, 2 * count, 10 - size, 10 - size)
    torch.testing.assert_close(responses[:, :count], -responses[:, count:])  # both signs, biases 0 at the start
    rows = responses[:, :count].permute(0, 2, 3, 1).flatten(0, 2).detach().double().numpy()
    np.testing.assert_allclose(np.cov(rows.T, bias=True), np.eye(count), atol=2e-3)
    patches = patches_by_loop(images(), size)
    np.testing.assert_allclose(rows, patches @ layer.filters.flatten(1).double().numpy().T, atol=1e-3)
    variances = np.linalg.eigvalsh(np.cov(patches.T, bias=True))[::-1]  # the strongest first
    np.testing.assert_allclose(layer.filters.flatten(1).norm(dim=1).numpy() ** -2, variances, rtol=2e-2)


def test_directions_without_variance_are_not_blown_up():
    layer = WhitenedPatches(2, eps=0.01)
    layer.take_patches([torch.ones(3, 1, 5, 5)])
    assert float(layer.filters.abs().max()) <= 10.0 + 1e-4


def fit(module, epochs=1):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=epochs, limit_train_batches=2, enable_model_summary=False, **quiet)
    trainer.fit(module, datamodule=ImageData(split=StratifiedSplit(val=100, test=0), batch_size=100))
    return trainer.datamodule


def test_a_training_takes_the_filters_of_its_images_once():
    module = EmbeddingModule(WhitenedConvEncoder(4, channels=[4]), TripletLoss(0.2))
    data = fit(module)
    layer, truth = module.encoder.patches[0], WhitenedPatches()
    truth.take_patches([batch.images for batch in data.ordered_dataloader(data.parts.train)])
    assert torch.equal(layer.filters, truth.filters)
    assert not any(p is layer.filters for p in module.parameters())
    assert layer.bias.abs().max() > 0  # learnt
    other = WhitenedConvEncoder(4, channels=[4])  # it has seen no image yet, as in pretrained_encoder
    layer.filters.mul_(2)
    other.load_state_dict(module.encoder.state_dict())
    fit(EmbeddingModule(other, TripletLoss(0.2)))
    assert torch.equal(other.patches[0].filters, layer.filters)


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        (WhitenedConvEncoder, {"embedding_dim": 5, "channels": (4, 6)}),
        (WhitenedConvEncoder, {"channels": (4, 5)}),
        (WhitenedConvEncoder, {"channels": (4, 5), "residual": True}),
        (ResidualEncoder, {"embedding_dim": 5, "channels": (4, 6), "blocks": (0, 1)}),
        (
            ResidualEncoder,
            {"embedding_dim": 5, "channels": (4, 6), "blocks": (1, 0), "patch_size": 3, "pooling": "max"}
            | {"activation": "gelu", "initialisation": "dirac"},
        ),
    ],
)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 33, 32)])
def test_encoders_take_images_of_any_size_and_load(kind, keys, shape):
    encoder, fresh = kind(**keys), kind(**keys)
    assert materialize(encoder, shape) == (5,)
    fresh.load_state_dict(encoder.state_dict())
    batch = torch.rand(3, *shape)
    assert torch.equal(fresh.eval()(batch), encoder.eval()(batch))
    assert len(layers_of(encoder)) >= 3


def test_the_small_net_has_six_layers_of_its_own_and_learns_no_scale():
    encoder = WhitenedConvEncoder(128)
    materialize(encoder, (3, 32, 32))
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [
        (24, 64), (64, 64), (64, 256), (256, 256), (256, 256), (256, 256),
    ]  # fmt: skip
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [(m.weight.requires_grad, m.bias.requires_grad, m.momentum) for m in norms] == [(False, True, 0.4)] * 6


def test_a_residual_net_has_nine_layers_and_learns_no_scale_either():
    encoder = WhitenedConvEncoder(channels=(4, 6, 8), residual=True)
    materialize(encoder, (3, 32, 32))
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [
        (24, 4), (4, 4), (4, 4), (4, 6), (6, 6), (6, 6), (6, 8), (8, 8), (8, 8),
    ]  # fmt: skip
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [(m.weight.requires_grad, m.bias.requires_grad) for m in norms] == [(False, True)] * 9
    features = torch.rand(2, 4, 7, 7)
    block = encoder.eval().blocks[4]
    torch.testing.assert_close(block(features), features + block.layers(features))


def test_a_dirac_convolution_hands_its_channels_on():
    layer = DiracConv2d(7, 3, padding=1, bias=False)
    batch = torch.rand(2, 3, 6, 6)
    responses = layer(batch)
    assert torch.equal(responses[:, :3], batch)
    assert type(layer) is nn.Conv2d
    assert layer.weight[3:].std() > 0.05  # the others are drawn


def test_a_residual_block_adds_to_its_features():
    encoder = ResidualEncoder(3, channels=(4,), blocks=(1,))
    materialize(encoder, (1, 8, 8))
    block, features = encoder.stages[0][-1].eval(), torch.rand(2, 4, 5, 5)
    torch.testing.assert_close(block(features), features + block.layers(features))


@pytest.mark.parametrize("pooling", ["mean", "max", "none"])
@pytest.mark.parametrize(
    ("make", "layers"),
    [
        (lambda pooling: ResidualEncoder(3, channels=(4, 6), blocks=(0, 0), pooling=pooling), lambda e: e.stages),
        (lambda pooling: WhitenedConvEncoder(3, channels=(6,), pooling=pooling), lambda e: (e.patches, e.blocks)),
    ],
)
def test_features_are_pooled_as_told(make, layers, pooling):
    encoder = make(pooling)
    materialize(encoder, (1, 9, 9))
    images = torch.rand(2, 1, 9, 9)
    features = nn.Sequential(*layers(encoder.eval()))(images)
    assert features.shape[1] == 6
    truth = {"mean": features.mean((2, 3)), "max": features.flatten(2).max(2)[0], "none": features.reshape(2, -1)}
    torch.testing.assert_close(encoder(images), truth[pooling] @ encoder.projection.weight.T)


def test_standardized_embeddings_have_mean_0_and_variance_1_and_point_all_ways():
    torch.manual_seed(0)
    plain, standardized = (ResidualEncoder(8, channels=(16,), blocks=(0,), standardize=on) for on in (False, True))
    batch = torch.rand(64, 1, 8, 8)
    materialize(plain, (1, 8, 8))
    materialize(standardized, (1, 8, 8))
    standardized.load_state_dict(plain.state_dict(), strict=False)
    rows = plain.train()(batch).detach()
    truth = (rows - rows.mean(0)) / (rows.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(standardized.train()(batch), truth, rtol=1e-3, atol=1e-3)
    moved = 0.9 + 0.1 * rows.var(0)  # the running statistics start at 0 and 1
    torch.testing.assert_close(standardized.standardization.running_var, moved, rtol=1e-3, atol=1e-5)
    before, after = (nn.functional.normalize(embeddings, dim=1) for embeddings in (rows, truth))
    assert (before @ before.T).mean() > 0.9
    assert (after @ after.T).mean() < 0.1


@pytest.mark.parametrize(("channels", "blocks"), [((4, 6), (1,)), ((4,), (-1,))])
def test_blocks_are_given_for_each_stage(channels, blocks):
    with pytest.raises(UserError, match="give a number of at least 0 for each of"):
        ResidualEncoder(3, channels=channels, blocks=blocks)


@pytest.mark.parametrize("normalize", [False, True])
def test_views_are_averaged_in_evaluation_alone(normalize):
    encoder = ViewAveragedEncoder(FlattenEncoder(normalize=normalize), flip=True, shift=1)
    batch = torch.rand(2, 1, 4, 5)
    assert torch.equal(encoder.train()(batch), encoder.encoder(batch))
    pixels = np.pad(batch.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    views = [pixels[:, :, a : a + 4, a : a + 5] for a in (1, 0, 2)]
    rows = [view[..., ::step].reshape(2, -1) for view in views for step in (1, -1)]
    if normalize:
        rows = [row / np.linalg.norm(row, axis=1, keepdims=True) for row in rows]
    mean = np.mean(rows, axis=0)
    truth = mean / np.linalg.norm(mean, axis=1, keepdims=True) if normalize else mean
    np.testing.assert_allclose(encoder.eval()(batch).numpy(), truth, rtol=1e-5)
    wide = encoder(batch.double())
    assert wide.dtype == torch.float64
    np.testing.assert_allclose(wide.numpy(), truth, rtol=1e-6)
