from pathlib import Path

import numpy as np
import pytest
import torch

from dml.data import Augmentation, Digits, ImageData, StratifiedSplit
from dml.errors import UserError


def ready(**keys) -> ImageData:
    data = ImageData(**keys)
    data.setup("fit")
    return data


def test_digits_without_anything():
    data = ready()
    assert data.image_shape == (1, 8, 8)
    assert data.num_classes == 10
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (128, 1, 8, 8)
    assert batch.images.min() >= -1
    assert batch.images.max() == 1
    assert batch.labels.dtype == batch.ids.dtype == torch.int64


def test_folder_is_split_batched_and_scored(folder: Path):
    data = ready(root=str(folder), image_size=16, split=StratifiedSplit(val=6, test=6), batch_size=8)
    assert data.class_names == ["ash", "birch tree", "çédille"]
    train = list(data.train_dataloader())
    queries, references = data.val_dataloader()
    assert sum(len(b.ids) for b in train) == 24
    assert torch.cat([b.ids for b in references]).tolist() == data.parts.train.tolist()
    assert torch.cat([b.ids for b in queries]).tolist() == data.parts.val.tolist()
    assert sorted(torch.cat([b.ids for b in train]).tolist()) == data.parts.train.tolist()
    for batch in train:  # the label is the brightest channel, so pixels, labels and ids belong together
        assert torch.equal(batch.images.mean(dim=(2, 3)).argmax(1), batch.labels)
        assert torch.equal(torch.from_numpy(data.catalog.labels)[batch.ids], batch.labels)
    everything = torch.cat([b.ids for b in data.predict_dataloader()])
    assert everything.tolist() == list(range(36))


def test_same_seed_same_batches_other_seed_other_batches():
    def first(seed: int) -> torch.Tensor:
        data = ready(seed=seed, transform=Augmentation(crop_padding=1, rotate=10.0))
        return torch.cat([b.images for b in data.train_dataloader()])

    assert torch.equal(first(3), first(3))
    assert not torch.equal(first(3), first(4))


def test_split_seed_follows_the_datamodule_unless_set():
    assert ready(seed=1).split_hash != ready(seed=2).split_hash
    fixed = StratifiedSplit(seed=7)
    assert ready(seed=1, split=fixed).split_hash == ready(seed=2, split=fixed).split_hash


def test_normalisation_per_channel():
    data = ready(source=Digits(), channels=3, mean=[0.0, 0.5, 1.0], std=[1.0, 0.5, 0.5])
    batch = next(iter(data.predict_dataloader()))
    pixels = data.thumbnails(batch.ids)[:, 0].float() / 255
    torch.testing.assert_close(batch.images[:, 0], pixels)
    torch.testing.assert_close(batch.images[:, 1], 2 * pixels - 1)
    torch.testing.assert_close(batch.images[:, 2], 2 * (pixels - 1))


def test_setup_twice_reads_once():
    data = ready()
    pixels = data.pixels
    data.setup("test")
    assert data.pixels is pixels


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"root": "no/such/folder"}, "no folder or file 'no/such/folder'"),
        ({"root": ".", "source": Digits()}, "give one of them"),
        ({"split": StratifiedSplit(val=5000)}, "val=5000 of 1797 samples"),
    ],
)
def test_what_a_user_can_mend_on_setup(keys, words):
    with pytest.raises(UserError, match=words):
        ready(**keys)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"batch_size": 50, "classes_per_batch": 20}, "multiple of classes_per_batch=20: set batch_size to 40 or 60"),
        ({"batch_size": 50, "classes_per_batch": 25}, "the training part has 10 classes"),
        ({"batch_size": 10, "classes_per_batch": 10}, "no positive"),
        ({"mean": [0.5, 0.5]}, "data.mean"),
        ({"std": 0.0}, "data.std"),
    ],
)
def test_what_a_user_can_mend_on_loading(keys, words):
    with pytest.raises(UserError, match=words):
        ready(**keys).train_dataloader()


def test_unreadable_image_is_named_or_skipped_and_counted(folder: Path):
    (folder / "ash" / "broken.png").write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"image 'ash/broken.png' cannot be read .*data.on_error to skip"):
        ready(root=str(folder), image_size=8)
    data = ready(root=str(folder), image_size=8, on_error="skip")
    assert [data.catalog.names[i] for i in data.unreadable] == ["ash/broken.png"]
    parts = np.concatenate([data.parts.train, data.parts.val, data.parts.test])
    assert len(parts) == 36
    assert data.unreadable[0] not in parts


def test_no_test_part_says_so():
    with pytest.raises(UserError, match="no test images"):
        ready(split=StratifiedSplit(val=0.2, test=0)).test_dataloader()
