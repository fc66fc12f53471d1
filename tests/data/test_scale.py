"""Numbers on every scale: read as they were meant, or refused with a count and the key that mends."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

from dml.data import ArrayFile, Arrays, Digits, ImageData, ImageFolder, TorchDataset
from dml.data.images.scale import to_bytes
from dml.errors import UserError

LABELS = np.arange(8) % 2


@pytest.fixture
def levels():
    """Eight images (5, 6) that hold 0, 255 and bytes between."""
    images = np.random.default_rng(0).integers(0, 256, (8, 5, 6), dtype=np.uint8)
    images[:, 0, :2] = 0, 255
    return images


def served(images, **keys):
    data = ImageData(source=Arrays(images, LABELS, **keys), cache=False)
    data.setup()
    return data.thumbnails(torch.arange(len(images)))[:, 0].numpy()


@pytest.mark.parametrize("kind", ["u1", "i2", "<i8", ">u4", "f2", "f4", ">f8", "u2", ">u2"])
def test_every_type_of_number_gives_the_bytes_that_were_meant(levels, kind):
    kind = np.dtype(kind)
    factor = 1 / 255 if kind.kind == "f" else 257 if kind.itemsize == 2 and kind.kind == "u" else 1
    assert np.array_equal(served((levels.astype(float) * factor).astype(kind)), levels)


def test_booleans_are_black_and_white(levels):
    assert np.array_equal(served(levels > 127), np.where(levels > 127, 255, 0))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda x: x * 16.0, r"8 of 8 images hold values outside 0..1, they reach from 0 to 16: give white: 16 "),
        (lambda x: x * 255.0, r"8 of 8 images hold values outside 0..1, .*white: 255"),
        (lambda x: 2 * x - 1, r"outside 0..1, they reach from -1 to 1: give black: -1, white: 1 "),
        (lambda x: np.where(np.arange(8)[:, None, None] < 3, x * 400, x * 200).astype(int), r"3 of 8 .*outside 0..255"),
        (lambda x: (x * 200).astype(int) - 1, r"8 of 8 images hold values outside 0..255, they reach from -1"),
        (lambda x: (x * 255).astype(np.uint16), "the 8 images are black as 16-bit numbers, they reach from 0 to 255"),
        (lambda x: x + 0j, "complex128 are not pixels"),
        (lambda x: x.astype(str), "are not pixels"),
        (lambda x: x[:, :0], "do not fit"),
        (lambda x: np.repeat(x[:, None], 3, axis=1), "have 6 channels: give 1, 3 or 4, channels last"),
        (lambda x: np.repeat(x[:1], 8, axis=0), "all 8 images have the same pixels"),
    ],
)
def test_other_scales_are_refused_with_the_mend(levels, spoil, told):
    with pytest.raises(UserError, match=told):
        served(spoil(levels / 255))


def test_the_mend_mends(levels, tmp_path):
    assert np.array_equal(served(2 * (levels / 255) - 1, black=-1, white=1), levels)
    digits = load_digits()
    np.savez(tmp_path / "digits.npz", images=digits.images, labels=digits.target)  # floats 0..16
    with pytest.raises(UserError, match=r"1797 of 1797 images .*dml.data.ArrayFile with root: .*digits.npz, white: 16"):
        ImageData(root=str(tmp_path / "digits.npz")).setup()
    mended = ImageData(source=ArrayFile(str(tmp_path / "digits.npz"), white=16), cache=False)
    mended.setup()
    own = ImageData(source=Digits())
    own.setup()
    assert torch.equal(mended.pixels.images, own.pixels.images)
    with pytest.raises(UserError, match="white is 1 and black 1"):
        served(levels, black=1, white=1)


def test_nan_and_infinity_are_counted_or_left_out(levels):
    images = levels / 255
    images[[2, 5], 1, 1] = np.nan, np.inf
    with pytest.raises(UserError, match=r"2 of 8 images hold NaN or infinity, first 'array\[2\]'.*on_error to skip"):
        served(images)
    data = ImageData(source=Arrays(images, LABELS), cache=False, on_error="skip")
    data.setup()
    assert data.unreadable == [2, 5]
    with pytest.raises(UserError, match="labels are not whole"):
        Arrays(levels, np.where(LABELS, np.nan, 1)).open()


def test_tensors_of_a_dataset_have_a_scale_too():
    images = torch.rand(12, 1, 4, 4)
    normalised = TensorDataset(2 * images - 1, torch.arange(12) % 3)
    with pytest.raises(UserError, match="are not within 0 to 1, the source's black and white"):
        ImageData(source=TorchDataset(normalised, channels=1)).setup()
    data = ImageData(source=TorchDataset(normalised, channels=1, black=-1, white=1))
    data.setup()
    assert (data.thumbnails(torch.arange(12)) / 255 - images).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("array", [np.full((4, 4), 7.0, np.float32), np.full((4, 4), -3, np.int32)])
def test_tiff_files_of_other_numbers(tmp_path, array):
    for i in range(4):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(array).save(tmp_path / "ab"[i % 2] / f"{i}.tif")
    with pytest.raises(UserError, match=r"image 'a/0.tif' cannot be read \(.*not within 0 to"):
        ImageData(source=ImageFolder(str(tmp_path))).setup()


def test_half_a_grey_level_is_rounding():
    assert to_bytes(np.array([-0.001, 1.001])).tolist() == [0, 255]
    with pytest.raises(ValueError, match="not within"):
        to_bytes(np.array([1.01]))
