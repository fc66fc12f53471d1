"""Encoders and heads: shapes, the reference experiments' forms, lazy sizes."""

import pytest
import torch
from torch import nn

from dml.encoders import (
    AlexNetEncoder,
    ConvEncoder,
    FlattenEncoder,
    LinearEncoder,
    MLPEncoder,
    ResidualEncoder,
    StridedConvEncoder,
    TorchvisionEncoder,
    WhitenedConvEncoder,
    materialize,
)
from dml.errors import UserError
from dml.heads import LinearHead, MLPHead


@pytest.mark.parametrize(
    "encoder", [LinearEncoder(7), MLPEncoder(7), ConvEncoder(7), AlexNetEncoder(7)], ids=lambda e: type(e).__name__
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_encoder_gives_one_row_an_image(encoder, channels):
    encoder = type(encoder)(7)
    assert materialize(encoder, (channels, 32, 32)) == (7,)
    assert encoder(torch.rand(4, channels, 32, 32)).shape == (4, 7)


def test_materialize_leaves_mode_and_statistics_alone():
    encoder = ConvEncoder(4)
    materialize(encoder, (1, 8, 8))
    assert encoder.training
    means = [m.running_mean for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert means
    assert all(bool((mean == 0).all()) for mean in means)


def test_materialize_leaves_every_part_in_its_own_mode_and_its_numbers_type():
    encoder = ConvEncoder(4, channels=[4, 4])
    encoder.stages[0].eval()
    before = {name: part.training for name, part in encoder.named_modules()}
    assert materialize(encoder.double(), (1, 8, 8)) == (4,)
    assert {name: part.training for name, part in encoder.named_modules()} == before
    assert not all(before.values())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_embeddings_of_length_one_keep_the_weights_type_and_under_autocast_have_32_bits(dtype):
    encoder = LinearEncoder(3, normalize=True)
    encoder(torch.rand(2, 1, 4, 4))
    under = torch.autocast("cpu", torch.bfloat16)
    with under:
        assert encoder(torch.rand(2, 1, 4, 4)).dtype == torch.float32
    embeddings = encoder.to(dtype)(torch.rand(2, 1, 4, 4, dtype=dtype))
    assert embeddings.dtype == dtype
    assert embeddings.double().norm(dim=1).tolist() == pytest.approx([1.0, 1.0], abs=torch.finfo(dtype).eps)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ResidualEncoder(4, [4], [0], pooling="avg"),
        lambda: WhitenedConvEncoder(pooling="avg"),
        lambda: WhitenedConvEncoder(activation="swish"),
        lambda: ResidualEncoder(4, [4], [0], initialisation="normal"),
        lambda: MLPEncoder(4, initialisation="xavier"),
    ],
)
def test_a_word_that_is_no_choice_is_refused(make):
    with pytest.raises(UserError, match=r"^(pooling|activation|initialisation)='\w+': choose \w+.* or \w+$"):
        make()


def test_weights_loaded_before_a_size_is_known_refuse_another_in_one_line():
    known, other = MLPEncoder(4, hidden_sizes=[5]), MLPEncoder(4, hidden_sizes=[5])
    materialize(known, (1, 8, 8))
    other.load_state_dict(known.state_dict())
    with pytest.raises(UserError, match=r"MLPEncoder cannot take inputs of shape \(1, 16, 16\)"):
        materialize(other, (1, 16, 16))


def test_images_of_another_size_than_the_weights_are_refused_in_one_line():
    encoder = MLPEncoder(4)
    materialize(encoder, (3, 8, 8))
    with pytest.raises(UserError, match=r"MLPEncoder cannot take inputs of shape \(3, 16, 16\)") as error:
        materialize(encoder, (3, 16, 16))
    assert "\n" not in str(error.value)


def test_a_linear_encoder_is_one_matrix():
    encoder, images = LinearEncoder(5), torch.rand(4, 3, 6, 6)
    embeddings = encoder(images)
    torch.testing.assert_close(embeddings, images.flatten(1) @ encoder.projection.weight.T)
    assert isinstance(encoder.projection, nn.Linear)


def test_the_mlp_has_the_form_of_reference_a4():
    encoder = MLPEncoder(64, hidden_sizes=[256], hidden_bias=True, output_bias=False, initialisation="normal")
    materialize(encoder, (3, 64, 64))
    shapes = {name: tuple(p.shape) for name, p in encoder.named_parameters()}
    assert shapes == {"layers.0.weight": (256, 12288), "layers.0.bias": (256,), "layers.2.weight": (64, 256)}
    hidden, output = encoder.layers[0], encoder.layers[2]
    assert hidden.weight.std().item() == pytest.approx((12288 + 256) ** -0.5, rel=0.01)
    assert output.weight.std().item() == pytest.approx((256 + 64) ** -0.5, rel=0.03)
    assert not hidden.bias.any()


def test_biases_of_the_mlp_are_optional():
    encoder = MLPEncoder(3, hidden_sizes=[4, 5], hidden_bias=False, output_bias=False)
    encoder(torch.rand(2, 1, 2, 2))
    assert [name for name, _ in encoder.named_parameters() if "bias" in name] == []


def test_the_alexnet_encoder_has_the_form_of_reference_b2():
    encoder = AlexNetEncoder()
    assert materialize(encoder, (3, 32, 32)) == (1000,)
    first = encoder.features[0]
    assert (first.in_channels, first.out_channels, first.kernel_size) == (3, 64, (3, 3))
    assert (first.stride, first.padding) == ((2, 2), (1, 1))
    kinds = [type(layer) for layer in encoder.features]
    for position, kind in enumerate(kinds):
        if kind is nn.Conv2d:
            assert kinds[position + 1 : position + 3] == [nn.ReLU, nn.BatchNorm2d]
    kinds = [type(layer) for layer in encoder.layers]
    for position, kind in enumerate(kinds):
        if kind is nn.Linear:
            assert kinds[position - 2 : position] == [nn.BatchNorm1d, nn.Dropout]


def test_weights_load_into_an_encoder_that_has_seen_no_image():
    trained, fresh = ConvEncoder(4), ConvEncoder(4)
    images = torch.rand(3, 1, 8, 8)
    expected = trained.eval()(images)
    fresh.load_state_dict(trained.state_dict())
    torch.testing.assert_close(fresh.eval()(images), expected)


def test_heads_read_their_input_size():
    embeddings = FlattenEncoder()(torch.rand(2, 1, 3, 3))
    assert LinearHead(5)(embeddings).shape == (2, 5)
    assert MLPHead(5, hidden_sizes=[8, 4])(embeddings).shape == (2, 5)


@pytest.mark.parametrize("head", [LinearHead(5, batch_norm=True), MLPHead(5, batch_norm=True)])
def test_a_head_with_batch_norm_does_not_see_the_scale_of_the_embedding(head):
    embeddings = torch.randn(64, 6)
    logits = head(embeddings)
    assert torch.allclose(head(1e3 * embeddings + 7), logits, atol=1e-3)
    assert not any("norm" in name for name, _ in head.named_parameters())


@pytest.mark.parametrize(
    "encoder",
    [LinearEncoder(7), MLPEncoder(7), ConvEncoder(7), AlexNetEncoder(7), StridedConvEncoder(7), FlattenEncoder()],
    ids=lambda encoder: type(encoder).__name__,
)
def test_normalize_puts_embeddings_on_the_unit_sphere(encoder):
    images = torch.rand(6, 3, 32, 32)
    plain = encoder.eval()
    expected = nn.functional.normalize(plain(images), dim=1)
    encoder.normalize = True
    torch.testing.assert_close(encoder(images), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(encoder(images).norm(dim=1), torch.ones(6))


def test_every_encoder_takes_the_key_normalize():
    built = [LinearEncoder, MLPEncoder, ConvEncoder, AlexNetEncoder, StridedConvEncoder]
    assert all(kind(7, normalize=True).normalize for kind in built)
    assert FlattenEncoder(normalize=True).normalize
    assert TorchvisionEncoder("resnet18", normalize=True).normalize
