"""Decoders: any size of image is met exactly, and what cannot fit is told."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dml.decoders import ConvDecoder, MLPDecoder
from dml.encoders import materialize
from dml.errors import UserError

SIDES = st.integers(1, 19)


@settings(deadline=None, max_examples=25)
@given(
    depth=st.sampled_from([1, 3]),
    height=SIDES,
    width=SIDES,
    dim=st.integers(1, 4),
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    conv=st.booleans(),
)
def test_any_size_is_met_exactly(depth, height, width, dim, widths, conv):
    decoder = ConvDecoder(channels=widths) if conv else MLPDecoder(hidden_sizes=widths, batch_norm=True)
    decoder.build((depth, height, width))
    assert materialize(decoder, (dim,)) == (depth, height, width)
    images = decoder(torch.randn(2, dim) * 100)
    assert images.shape == (2, depth, height, width)
    assert 0 <= images.min() <= images.max() <= 1


@pytest.mark.parametrize("decoder", [MLPDecoder([], sigmoid=False), ConvDecoder([4, 2], sigmoid=False)])
def test_without_sigmoid_pixels_are_unbounded_and_otherwise_the_same(decoder):
    decoder.build((1, 6, 5))
    codes = 50 * torch.randn(3, 2)
    materialize(decoder, (2,))
    decoder.eval()
    plain = decoder(codes)
    decoder.sigmoid = True
    torch.testing.assert_close(decoder(codes), plain.sigmoid())
    assert plain.abs().max() > 1


def test_without_hidden_layers_the_mlp_is_linear_in_the_code():
    decoder = MLPDecoder([], sigmoid=False)
    decoder.build((2, 3, 4))
    first, second = torch.randn(2, 1, 5)
    both = decoder(torch.cat([first, second, (first + second) / 2]))
    torch.testing.assert_close(both[2], (both[0] + both[1]) / 2)


def test_each_size_of_the_conv_decoder_is_half_the_next_rounded_up():
    decoder = ConvDecoder([8, 6, 4])
    decoder.build((1, 27, 9))
    assert decoder.sizes == [(7, 3), (14, 5), (27, 9)]


def test_building_twice_for_one_shape_keeps_the_layers_and_for_another_is_refused():
    decoder = MLPDecoder([4])
    decoder.build((1, 6, 6))
    layers = list(decoder.layers)
    decoder.build((1, 6, 6))
    assert list(decoder.layers) == layers
    with pytest.raises(UserError, match=r"gives images of shape \(1, 6, 6\) and the data's are \(1, 6, 7\)"):
        decoder.build((1, 6, 7))


def test_an_unbuilt_decoder_says_so():
    with pytest.raises(UserError, match="has no image shape yet"):
        MLPDecoder()(torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ConvDecoder([]), "no channels"),
        (lambda: ConvDecoder([8, 0]), "at least 1"),
        (lambda: MLPDecoder([-1]), "at least 1"),
        (lambda: MLPDecoder().build((1, 0, 5)), "every side is at least 1"),
    ],
)
def test_what_cannot_be_built_is_refused(make, told):
    with pytest.raises(UserError, match=told):
        make()
