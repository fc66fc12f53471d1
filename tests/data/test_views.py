"""Views: rotations as classes, several crops of an image, images that grow; their noise is addressed."""

import pytest
import torch

from dml.data import (
    Arrays,
    Augmentation,
    ImageData,
    MultiCrop,
    ProgressiveResizing,
    RotationClasses,
    StratifiedSplit,
    Views,
)
from dml.data.transforms.base import transform_batch
from dml.errors import UserError

NOISY = Augmentation(crop_padding=2, brightness=0.3)


def batch(count: int = 6, side: int = 8) -> tuple[Views, torch.Tensor]:
    images = torch.randint(
        0, 256, (count, 1, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return Views(images, torch.arange(count) % 3, 100 + torch.arange(count)), 40 + torch.arange(count)


def test_each_turn_of_a_class_is_a_class() -> None:
    views, positions = batch()
    turned = RotationClasses()(views, 0, 0, positions)
    for turn in range(4):
        own = slice(6 * turn, 6 * turn + 6)
        assert torch.equal(turned.images[own], torch.rot90(views.images, turn, (2, 3)))
        assert turned.labels[own].tolist() == [4 * label + turn for label in views.labels.tolist()]
        assert torch.equal(turned.ids[own], views.ids)


def test_each_turn_of_a_mirror_image_is_a_class_too() -> None:
    views, positions = batch()
    turned = RotationClasses(mirror=True)(views, 0, 0, positions)
    shown = {}
    for image, label in zip(turned.images, turned.labels.tolist(), strict=True):
        shown.setdefault(label // 8, {})[label % 8] = image  # two images of a class: the later
    first = shown[0]
    assert sorted(turned.labels.tolist()) == sorted(8 * y + turn for y in views.labels.tolist() for turn in range(8))
    assert all(torch.equal(first[4 + turn], torch.rot90(first[0].flip(2), turn, (1, 2))) for turn in range(4))
    assert len({image.numpy().tobytes() for image in first.values()}) == 8


@pytest.mark.parametrize(
    ("transform", "labels"),
    [
        (None, 3),
        (NOISY, 3),
        (RotationClasses(NOISY), 12),
        (MultiCrop(RotationClasses(mirror=True)), 24),
        (MultiCrop(NOISY, own_class=True), 6),
        (RotationClasses(MultiCrop(NOISY, own_class=True)), 6),
        (ProgressiveResizing([8], [0], RotationClasses()), 12),
    ],
)
def test_a_loss_hears_of_every_label_that_is_made(transform, labels) -> None:
    views, positions = batch()
    images = {"images": torch.zeros(6, 8, 8, dtype=torch.uint8).numpy(), "labels": views.labels.numpy()}
    split = StratifiedSplit(val=0, test=0)
    assert ImageData(source=Arrays(**images), split=split, transform=transform).count_labels() == labels
    seen = Views(views.images, views.labels, torch.arange(6))
    shown = seen if transform is None else transform_batch(transform, seen, 0, 0, positions)
    assert int(shown.labels.max()) < labels


def test_an_image_is_a_class_of_its_own() -> None:
    views, positions = batch()
    crops = MultiCrop(NOISY, views=2, own_class=True)(views, 0, 0, positions)
    assert crops.labels.tolist() == crops.ids.tolist() == 2 * views.ids.tolist()


def test_views_of_an_image_differ() -> None:
    views, positions = batch()
    crops = MultiCrop(NOISY, views=3)(views, 0, 0, positions)
    shown = crops.images.view(3, 6, -1)
    assert not any(torch.equal(shown[a], shown[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert crops.labels.tolist() == 3 * views.labels.tolist()


@pytest.mark.parametrize(
    "transform",
    [
        RotationClasses(NOISY),
        RotationClasses(NOISY, mirror=True),
        MultiCrop(NOISY, 2),
        MultiCrop(NOISY, 2, own_class=True),
        RotationClasses(MultiCrop(NOISY)),
    ],
)
def test_noise_belongs_to_the_address_not_to_the_batch(transform) -> None:
    views, positions = batch()
    whole = transform_batch(transform, views, 5, 2, positions)
    parts = [
        transform_batch(transform, Views(*(x[a : a + 3] for x in views)), 5, 2, positions[a : a + 3]) for a in (0, 3)
    ]
    count = len(whole.labels) // 6

    def in_order(part: Views, size: int) -> torch.Tensor:
        return part.images.view(count, size, -1)

    assert torch.equal(in_order(whole, 6), torch.cat([in_order(part, 3) for part in parts], dim=1))
    later = transform_batch(transform, views, 5, 3, positions)
    assert not torch.equal(whole.images, later.images)


def test_images_grow_and_keep_their_mean() -> None:
    views, positions = batch(side=12)
    resize = ProgressiveResizing(sizes=[6, 9, 12], starts=[0, 2, 5])
    shown = [resize(views, 0, epoch, positions).images for epoch in range(7)]
    assert [x.shape[-1] for x in shown] == [6, 6, 9, 9, 9, 12, 12]
    assert torch.equal(shown[6], views.images)
    blocks = views.images.float().view(6, 1, 6, 2, 6, 2).mean(dim=(3, 5))
    torch.testing.assert_close(shown[0], blocks)


@pytest.mark.parametrize("sides", [(12, 12), (9, 15), (7, 6)])
@pytest.mark.parametrize(
    "transform",
    [
        NOISY,
        MultiCrop(NOISY),
        ProgressiveResizing([4, 6, 20], [0, 1, 2], NOISY),
        MultiCrop(ProgressiveResizing([5, 3], [0, 1], MultiCrop(NOISY))),
    ],
)
def test_a_transform_tells_every_shape_it_shows(transform, sides) -> None:
    images, labels = torch.randint(0, 256, (6, 1, *sides), dtype=torch.uint8), torch.arange(6) % 3
    source = Arrays(images[:, 0].numpy(), labels.numpy())
    data = ImageData(source=source, split=StratifiedSplit(val=0, test=0), transform=transform)
    data.setup()
    views = Views(images, labels, torch.arange(6))
    shown = {transform_batch(transform, views, 0, epoch, torch.arange(6)).images.shape[1:] for epoch in range(3)}
    assert {tuple(shape) for shape in shown} == set(data.view_shapes)


@pytest.mark.parametrize(("sizes", "starts"), [([8], [1]), ([8, 12], [0]), ([8, 12], [0, 0]), ([], [])])
def test_sizes_and_starts_that_do_not_fit_are_refused(sizes, starts) -> None:
    with pytest.raises(UserError, match="give one start for each size"):
        ProgressiveResizing(sizes, starts)


def test_only_squares_are_turned() -> None:
    with pytest.raises(UserError, match="turns square images"):
        RotationClasses()(Views(torch.zeros(2, 1, 4, 6), torch.zeros(2), torch.arange(2)), 0, 0, torch.arange(2))


@pytest.mark.parametrize("transform", [RotationClasses(NOISY), ProgressiveResizing([4, 8], [0, 1])])
def test_the_datamodule_serves_views(transform) -> None:
    data = ImageData(split=StratifiedSplit(val=100, test=0), batch_size=100, transform=transform, cache=False)
    data.setup()
    served = next(iter(data.train_dataloader()))
    turns = isinstance(transform, RotationClasses)
    assert served.images.shape == ((400, 1, 8, 8) if turns else (100, 1, 4, 4))
    assert len(served.labels) == len(served.ids) == len(served.images)
    assert next(iter(data.val_dataloader()[0])).images.shape[1:] == (1, 8, 8)


def test_alternating_flips_follow_the_image_through_the_epochs() -> None:
    data = ImageData(
        split=StratifiedSplit(val=100, test=0), batch_size=100, transform=Augmentation(alternate_flip=True), cache=False
    )
    data.setup()
    loader, shown = data.train_dataloader(), []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        pairs = [(batch.ids, batch.images) for batch in loader]
        order = torch.cat([ids for ids, _ in pairs]).argsort()
        shown.append(torch.cat([images for _, images in pairs])[order])
    assert torch.equal(shown[0], shown[1].flip(3))
