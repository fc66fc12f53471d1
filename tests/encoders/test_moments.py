"""Moment normalisation against moments by loops, and what it must not change."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dml.encoders import FlattenEncoder, MomentNormalizedEncoder, ResidualEncoder, materialize
from dml.errors import UserError


def drawing(side=64, centre=(34.0, 28.0), radii=(13.0, 8.0), angle=0.6):
    """A soft ellipse of ink, larger than pixels by far."""
    rows, columns = torch.meshgrid(*[torch.arange(side) + 0.5] * 2, indexing="ij")
    x, y = columns - centre[0], rows - centre[1]
    cos, sin = np.cos(angle), np.sin(angle)
    far = ((cos * x + sin * y) / radii[0]) ** 2 + ((cos * y - sin * x) / radii[1]) ** 2
    return torch.exp(-(far**2))[None, None]


def moments_by_loop(image):
    """Mean and covariance of ink's positions, in half sides of the frame, float64."""
    pixels = image[0, 0].double().numpy()
    rows, columns = ((2 * np.arange(length) + 1) / length - 1 for length in pixels.shape)
    places = np.array([[x, y] for y in rows for x in columns])
    return np.average(places, axis=0, weights=pixels.ravel()), np.cov(places.T, aweights=pixels.ravel(), ddof=0)


def shown(image, **settings):
    return MomentNormalizedEncoder(FlattenEncoder(), **{"ink": "bright"} | settings).show(image)


@pytest.mark.parametrize("angle", [0.0, 0.6, np.pi / 2, 2.2])
def test_a_drawing_is_centred_and_round_of_the_given_spread(angle):
    mean, covariance = moments_by_loop(shown(drawing(angle=angle), stretch=1.0, spread=0.3))
    np.testing.assert_allclose(mean, 0, atol=1e-3)
    np.testing.assert_allclose(covariance, 0.3**2 * np.eye(2), atol=3e-3)


@pytest.mark.parametrize("stretch", [0.0, 0.5])
def test_proportion_is_kept_as_far_as_asked_and_so_are_directions(stretch):
    image = drawing()
    before, directions = np.linalg.eigh(moments_by_loop(image)[1])
    after, kept = np.linalg.eigh(moments_by_loop(shown(image, stretch=stretch, spread=0.25))[1])
    assert np.sqrt(after[1] / after[0]) == pytest.approx(np.sqrt(before[1] / before[0]) ** (1 - stretch), rel=0.03)
    assert np.prod(after) ** 0.25 == pytest.approx(0.25, rel=0.03)
    np.testing.assert_allclose(np.abs(directions.T @ kept), np.eye(2), atol=0.05)


@settings(max_examples=20, deadline=None)
@given(st.integers(-8, 8), st.integers(-8, 8), st.floats(0.8, 1.4))
def test_place_and_size_do_not_matter(right, down, zoom):
    plain = shown(drawing(), size=32)
    moved = drawing(centre=(34.0 + right, 28.0 + down), radii=(13 * zoom, 8 * zoom))
    torch.testing.assert_close(shown(moved, size=32), plain, atol=0.03, rtol=0)


def test_turned_and_mirrored_drawings_are_shown_turned_and_mirrored():
    image = drawing()
    torch.testing.assert_close(shown(image.rot90(1, (2, 3))), shown(image).rot90(1, (2, 3)), atol=1e-4, rtol=0)
    torch.testing.assert_close(shown(image.flip(3)), shown(image).flip(3), atol=1e-4, rtol=0)


def test_dark_ink_is_bright_ink_on_the_negative_whatever_the_units():
    image = drawing()
    torch.testing.assert_close(5 - 2 * shown(image), shown(5 - 2 * image, ink="dark"), atol=1e-4, rtol=0)
    paper = shown(2 - drawing(radii=(3, 3)), ink="dark", spread=0.1)
    torch.testing.assert_close(paper[0, 0, 0], torch.full((64,), 2.0))  # beyond the frame is paper


def test_frames_without_ink_or_with_a_dot_or_a_line_stay_finite_and_small():
    dot, line = torch.zeros(2, 1, 1, 32, 32)
    dot[..., 4, 5] = 1
    line[..., 3, 2:30] = 1
    images = torch.cat([torch.zeros(1, 1, 32, 32), dot, line])
    result = shown(images)
    assert torch.equal(result[0], images[0])
    assert result.isfinite().all()
    assert 0 < int((result[1] > 0.1).sum()) <= 64  # zoomed fourfold at most along both axes
    assert result[1, 0, 14:18, 14:18].max() > 0.5


def test_what_is_shown_has_the_size_asked_for_and_gradients_reach_images():
    images = torch.cat([drawing(), torch.zeros(1, 1, 64, 64)]).repeat(1, 3, 1, 1).requires_grad_()
    encoder = MomentNormalizedEncoder(
        ResidualEncoder(4, channels=[3], blocks=[0], normalize=True), ink="bright", size=24
    )
    assert materialize(encoder, (3, 64, 64)) == (4,)
    assert encoder.normalize
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder.show(images).shape == (2, 3, 24, 24)
        for dtype in (torch.float32, torch.bfloat16):
            assert encoder.show(images.to(dtype)).dtype == dtype
    encoder(images).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()


def test_frames_need_not_be_square():
    result = shown(drawing()[:, :, :, 8:56], stretch=1.0, spread=0.3)
    assert result.shape == (1, 1, 64, 48)
    np.testing.assert_allclose(moments_by_loop(result)[1], 0.3**2 * np.eye(2), atol=3e-3)


@pytest.mark.parametrize("wrong", [{"stretch": 1.5}, {"spread": 0.0}, {"size": 0}, {"size": 2.5}, {"ink": "red"}])
def test_numbers_out_of_range_are_one_line(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        MomentNormalizedEncoder(FlattenEncoder(), **{"ink": "dark"} | wrong)
