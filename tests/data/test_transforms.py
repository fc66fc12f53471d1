"""Transforms of other libraries: their draws are a function of the batch's address, and the generators stay put."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from dml.data import Augmentation, ImageData, PerImage
from dml.data.transforms.base import apply_transform
from dml.errors import UserError

PLACES = torch.arange(16)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (16, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Jitter(nn.Module):
    """Draws from every generator there is."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.dtype == torch.float32
        assert 0 <= images.min() <= images.max() <= 1
        return images * (torch.rand(()) + random.random() + np.random.rand()) / 3  # noqa: NPY002


@pytest.mark.parametrize("transform", [Jitter(), v2.RandomRotation(30), PerImage(v2.RandomRotation(30))])
def test_draws_are_a_function_of_seed_epoch_and_position(images, transform) -> None:
    state = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    first = apply_transform(transform, images, 5, 2, PLACES)
    assert first.dtype == torch.float32
    assert first.shape == images.shape
    assert torch.equal(first, apply_transform(transform, images, 5, 2, PLACES))
    for seed, epoch, places in [(6, 2, PLACES), (5, 3, PLACES), (5, 2, PLACES + 16)]:
        assert not torch.equal(first, apply_transform(transform, images, seed, epoch, places))
    assert torch.equal(state[0], torch.get_rng_state())
    assert state[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert state[2] == random.getstate()


def test_per_image_gives_each_image_noise_of_its_own_wherever_the_batch_is_cut(images) -> None:
    same = images[:1].repeat(16, 1, 1, 1)
    turned = v2.RandomRotation(30)
    assert len({tuple(x.flatten().tolist()) for x in apply_transform(turned, same, 0, 0, PLACES)}) == 1
    each = PerImage(turned)
    whole = apply_transform(each, same, 0, 0, PLACES)
    assert len({tuple(x.flatten().tolist()) for x in whole}) > 8  # angles close together look the same
    halves = [apply_transform(each, same[a : a + 8], 0, 0, PLACES[a : a + 8]) for a in (0, 8)]
    assert torch.equal(whole, torch.cat(halves))


def test_images_keep_their_scale(images) -> None:
    for transform in (v2.Identity(), PerImage(v2.Identity())):
        torch.testing.assert_close(apply_transform(transform, images, 0, 0, PLACES), images.float(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (v2.CenterCrop(8), r"CenterCrop turns images \(16, 3, 12, 12\) into \(16, 3, 8, 8\): it must keep the shape"),
        (nn.Linear(3, 12), r"data.transform: Linear fails on images \(16, 3, 12, 12\)"),
    ],
)
def test_transforms_that_do_not_fit_are_told_in_one_line(images, transform, words: str) -> None:
    with pytest.raises(UserError, match=words) as told:
        apply_transform(transform, images, 0, 0, PLACES)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("transform", [Jitter(), PerImage(v2.RandomHorizontalFlip()), Augmentation(rotate=9)])
def test_a_loader_that_goes_on_in_mid_epoch_serves_the_same_images(transform) -> None:
    data = ImageData(batch_size=300, transform=transform)
    data.setup()
    whole = list(data.train_dataloader())
    resumed = data.train_dataloader()
    resumed.load_state_dict({"epoch": 0, "position": 2})
    for left, batch in zip(resumed, whole[2:], strict=True):
        assert torch.equal(left.images, batch.images)
    assert data.transformed
    assert not ImageData().transformed


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_draws_on_cuda_are_seeded_and_put_back(images) -> None:
    state = torch.cuda.get_rng_state()
    drop = nn.Dropout(0.5)
    first = apply_transform(drop, images.cuda(), 0, 0, PLACES)
    assert torch.equal(first, apply_transform(drop, images.cuda(), 0, 0, PLACES))
    assert not torch.equal(first, apply_transform(drop, images.cuda(), 0, 1, PLACES))
    assert torch.equal(state, torch.cuda.get_rng_state())


def test_kornia_draws_for_each_image_and_is_addressed() -> None:
    augmentation = pytest.importorskip("kornia.augmentation", reason="kornia is another library's package")
    data = ImageData(transform=augmentation.RandomAffine(degrees=20.0, p=1.0), batch_size=32)
    data.setup()
    first, again = (next(iter(data.train_dataloader())).images for _ in range(2))
    assert torch.equal(first, again)
    plain = ImageData(batch_size=32)
    plain.setup()
    assert not torch.equal(first, next(iter(plain.train_dataloader())).images)
