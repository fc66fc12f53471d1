import inspect

import pytest
import torch
import torch.nn.functional as F

from dml.data import Augmentation
from dml.data.transforms.color import adjust, blur, grey
from dml.data.transforms.geometry import bend, box_matrix, mirror, rectangle_mask, resample, turn_matrix, window
from dml.errors import UserError

SETTINGS = {
    "crop_padding": 2,
    "resized_crop": 0.5,
    "flip": 0.5,
    "vertical_flip": 0.5,
    "rotate": 20,
    "scale": 0.2,
    "translate": 0.1,
    "shear": 10,
    "brightness": 0.3,
    "contrast": 0.3,
    "saturation": 0.3,
    "hue": 0.1,
    "blur": 1.0,
    "erase": 0.5,
    "cutout": 5,
    "elastic": 2.0,
}
EVERYTHING = Augmentation(**SETTINGS)
STEPS = [{name: value} for name, value in SETTINGS.items()]


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (64, 3, 12, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: next(iter(step)))
@pytest.mark.parametrize("channels", [1, 3])
def test_each_step_changes_samples_differently_and_stays_in_range(images, step, channels) -> None:
    images = images[:1, :channels].repeat(64, 1, 1, 1)
    out = Augmentation(**step)(images, seed=0, epoch=0, positions=torch.arange(64))
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert out.min() >= 0
    assert out.max() <= 255
    if channels == 3 or next(iter(step)) not in ("saturation", "hue"):
        assert len({tuple(sample.flatten().tolist()) for sample in out}) > 1


def test_every_step_is_tested() -> None:
    assert {*SETTINGS, "erase_area", "border", "alternate_flip"} == set(inspect.signature(Augmentation).parameters)


def test_nothing_asked_nothing_changed(images) -> None:
    assert torch.equal(Augmentation()(images, 0, 0, torch.arange(64)), images.float())


@pytest.mark.parametrize("augment", [EVERYTHING, Augmentation(crop_padding=2, flip=0.5)])
def test_noise_belongs_to_the_address_not_to_the_batch(images, augment) -> None:
    whole = augment(images, 5, 2, torch.arange(64))
    halves = [augment(images[a : a + 32], 5, 2, torch.arange(a, a + 32)) for a in (0, 32)]
    assert torch.equal(whole, torch.cat(halves))
    assert not torch.equal(whole, augment(images, 5, 3, torch.arange(64)))
    assert not torch.equal(whole, augment(images, 6, 2, torch.arange(64)))


def test_exact_crop_and_mirror_equal_the_resampled_ones(images) -> None:
    exact = Augmentation(crop_padding=3, flip=0.5, vertical_flip=0.3)
    resampled = Augmentation(crop_padding=3, flip=0.5, vertical_flip=0.3, translate=1e-9)
    places = torch.arange(64)
    torch.testing.assert_close(exact(images, 0, 0, places), resampled(images, 0, 0, places), rtol=0, atol=0.05)


def test_switching_a_step_on_leaves_the_noise_of_others(images) -> None:
    places = torch.arange(64)
    with_colour = Augmentation(flip=0.5, erase=1.0)(images, 0, 0, places)
    flipped = Augmentation(flip=0.5)(images, 0, 0, places)
    kept = with_colour != 127.5
    assert torch.equal(with_colour[kept], flipped[kept])


def test_flip_happens_as_often_as_asked(images) -> None:
    ramp = torch.arange(10.0).expand(4000, 1, 2, 10)
    flipped = Augmentation(flip=0.3)(ramp, 0, 0, torch.arange(4000))[:, 0, 0, 0] > 0
    assert flipped.float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_crop_offsets_are_uniform() -> None:
    ramp = torch.arange(9.0).expand(6000, 1, 9, 9)
    left = Augmentation(crop_padding=2)(ramp, 0, 0, torch.arange(6000))[:, 0, 4, 4] - 4
    counts = torch.bincount((left + 2).long(), minlength=5)
    assert counts.min() > 1050
    assert counts.max() < 1350


def test_window_equals_slicing_the_padded_image(images) -> None:
    pixels = images.float()
    rows, columns = torch.randint(0, 5, (2, 64), generator=torch.Generator().manual_seed(1))
    out = window(pixels, 2, rows, columns, "reflect")
    padded = torch.nn.functional.pad(pixels, (2, 2, 2, 2), mode="reflect")
    for i in range(64):
        r, c = rows[i], columns[i]
        assert torch.equal(out[i], padded[i, :, r : r + 12, c : c + 10])


def test_quarter_turn_is_exact_on_a_square_and_unsqueezed_on_a_rectangle() -> None:
    one, zero = torch.ones(1), torch.zeros(1)
    square = torch.rand(1, 1, 6, 6)
    matrix = turn_matrix(90 * one, one, zero, torch.zeros(1, 2), 6, 6)
    torch.testing.assert_close(resample(square, matrix, "black"), square.rot90(1, (2, 3)), atol=1e-5, rtol=1e-5)
    wide = torch.zeros(1, 1, 5, 15)
    wide[:, :, 2, 5:10] = 1  # a bar of 5 pixels in the middle, turned upright: still 5 pixels long, 1 wide
    upright = resample(wide, turn_matrix(90 * one, one, zero, torch.zeros(1, 2), 5, 15), "black")
    torch.testing.assert_close(upright[0, 0, :, 7], torch.ones(5), atol=1e-5, rtol=1e-5)
    assert upright.sum().item() == pytest.approx(5, abs=1e-4)


def test_the_frame_is_looked_up_as_torch_does(images) -> None:
    matrix = torch.eye(3) + 0.3 * torch.randn(64, 3, 3, generator=torch.Generator().manual_seed(0))
    grid = F.affine_grid(matrix[:, :2], list(images.shape), align_corners=False)
    for border, mode in (("black", "zeros"), ("reflect", "reflection")):
        expected = F.grid_sample(images.float(), grid, padding_mode=mode, align_corners=False)
        torch.testing.assert_close(resample(images.float(), matrix, border), expected, atol=2e-3, rtol=0)


def test_zoom_and_shift_go_the_way_the_docstring_says() -> None:
    one, zero = torch.ones(1), torch.zeros(1)
    dot = torch.zeros(1, 1, 9, 9)
    dot[:, :, 4, 6] = 1
    shifted = resample(dot, turn_matrix(zero, one, zero, torch.tensor([[1 / 9, -2 / 9]]), 9, 9), "black")
    assert shifted[0, 0, 2, 7].item() == pytest.approx(1, abs=1e-5)
    zoomed = resample(dot, turn_matrix(zero, 2 * one, zero, torch.zeros(1, 2), 9, 9), "black")
    assert zoomed[0, 0, 4, 8].item() == pytest.approx(1, abs=1e-5)


def test_box_is_shown_in_the_whole_frame() -> None:
    images = torch.rand(1, 1, 8, 8)
    box = box_matrix(torch.tensor([[0.5, -0.5]]), torch.tensor([[0.5, 0.5]]))  # the upper right quarter
    shown = resample(images, box, "reflect")
    assert shown[0, 0, 3:5, 3:5].mean().item() == pytest.approx(images[0, 0, 1:3, 5:7].mean().item(), abs=1e-4)


def test_mirror_marks_single_samples(images) -> None:
    marks = torch.arange(64) % 2 == 0
    out = mirror(images, marks, ~marks)
    assert torch.equal(out[0], images[0].flip(2))
    assert torch.equal(out[1], images[1].flip(1))


def test_rectangle_has_the_area_asked_for() -> None:
    area, zero = torch.tensor([0.25]), torch.zeros(1)
    mask = rectangle_mask(area, zero, torch.tensor([[0.0, 1.0]]), 20, 20)
    assert mask.sum() == 100
    assert mask[0, 0, 10:, :10].all()


def test_colours_equal_the_plain_formulas(images) -> None:
    x = images[:2].float()
    one, zero = torch.ones(2), torch.zeros(2)
    torch.testing.assert_close(adjust(x, 1.3 * one, one, one, zero), 1.3 * x)
    mean = grey(x).mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(adjust(x, one, 0.7 * one, one, zero), 0.7 * x + 0.3 * mean)
    torch.testing.assert_close(adjust(x, one, one, 0.5 * one, zero), 0.5 * x + 0.5 * grey(x))
    chain = adjust(adjust(adjust(x, 1.3 * one, one, one, zero), one, 0.7 * one, one, zero), one, one, 0.5 * one, zero)
    torch.testing.assert_close(adjust(x, 1.3 * one, 0.7 * one, 0.5 * one, zero), chain)


def test_hue_turns_keep_luma_and_come_back_after_a_whole_turn(images) -> None:
    x = images[:2].float()
    one = torch.ones(2)
    turned = adjust(x, one, one, one, 0.2 * one)
    torch.testing.assert_close(grey(turned), grey(x), atol=0.5, rtol=0)
    torch.testing.assert_close(adjust(x, one, one, one, one), x, atol=0.01, rtol=0)
    assert (turned - x).abs().max() > 10


def test_blur_keeps_constants_and_spreads_by_its_width() -> None:
    dot = torch.zeros(2, 1, 21, 21)
    dot[:, :, 10, 10] = 1
    out = blur(dot, torch.tensor([0.0, 2.0]), radius=8)
    assert torch.equal(out[0], dot[0])
    spread = ((torch.arange(21.0) - 10) ** 2 * out[1, 0].sum(0)).sum().sqrt()
    assert spread.item() == pytest.approx(2.0, abs=0.01)


def test_reflecting_border_shows_no_black() -> None:
    bright = torch.full((16, 3, 8, 8), 200.0)
    for step in ({"crop_padding": 2}, {"rotate": 30.0, "translate": 0.2}):
        assert Augmentation(**step, border="reflect")(bright, 0, 0, torch.arange(16)).min() > 199
        assert Augmentation(**step)(bright, 0, 0, torch.arange(16)).min() < 100


def test_cutout_greys_one_square_around_a_random_pixel() -> None:
    white = torch.full((400, 1, 12, 10), 255.0)
    grey_pixels = (Augmentation(cutout=4)(white, 0, 0, torch.arange(400)) == 127.5)[:, 0]
    rows, columns = grey_pixels.any(dim=2).sum(dim=1), grey_pixels.any(dim=1).sum(dim=1)
    assert torch.equal(grey_pixels.sum(dim=(1, 2)), rows * columns)  # a rectangle each
    assert {int(rows.max()), int(columns.max())} == {4}
    assert {int(rows.min()), int(columns.min())} == {2}  # cut off at the frame
    shown = grey_pixels.float().mean(dim=0)
    assert shown[5, 5] == pytest.approx(16 / 120, abs=0.06)


def test_bending_moves_what_is_there_smoothly_and_by_no_more_than_asked() -> None:
    down, across = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    slopes = torch.stack([across, down])[None].repeat(64, 1, 1, 1)  # a pixel's colour is its place
    bent = Augmentation(elastic=3.0, border="reflect")(slopes, 0, 0, torch.arange(64))
    moved = (bent - slopes)[:, :, 8:-8, 8:-8]  # away from the border
    assert 2.5 < moved.abs().max() < 4  # a bicubic surface goes a little beyond its points
    assert moved.diff(dim=3).abs().max() < 1  # no fold: neighbours stay in order
    assert moved.mean().abs() < 0.2
    assert len({tuple(sample.flatten().tolist()) for sample in bent}) == 64


def test_a_bent_frame_passes_through_its_points() -> None:
    moves = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    surface = bend(moves, 10, 13) / 2 * torch.tensor([13.0, 10.0])[:, None, None]
    torch.testing.assert_close(surface[:, :, ::3, ::4], moves, atol=1e-5, rtol=1e-5)
    whole = F.interpolate(moves, size=(10, 13), mode="bicubic", align_corners=True)
    torch.testing.assert_close(surface, whole, atol=1e-5, rtol=1e-5)


def test_alternating_flips_show_both_sides_in_every_two_epochs() -> None:
    ramp = torch.arange(8.0).expand(100, 1, 2, 8)
    augment = Augmentation(alternate_flip=True)
    ids = torch.arange(100) + 1000

    def mirrored(epoch: int, order: torch.Tensor) -> torch.Tensor:
        shown = augment(ramp, 0, epoch, torch.arange(100), ids[order])[:, 0, 0, 0] == 7
        return torch.zeros(100, dtype=torch.bool).scatter(0, order, shown)

    orders = [torch.randperm(100, generator=torch.Generator().manual_seed(epoch)) for epoch in range(3)]
    first, second, third = (mirrored(epoch, order) for epoch, order in enumerate(orders))
    assert 30 < int(first.sum()) < 70
    assert torch.equal(second, ~first)  # whatever the order was
    assert torch.equal(third, first)


def test_two_ways_to_mirror_are_refused() -> None:
    with pytest.raises(UserError, match="leave one of them out"):
        Augmentation(flip=0.5, alternate_flip=True)
