import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dml.data import ImageData
from dml.data.images import decode as decode_module
from dml.data.images.decode import decode_image
from dml.errors import UserError


def stored(image: Image.Image, **how) -> Image.Image:
    file = io.BytesIO()
    image.save(file, **how)
    file.seek(0)
    return Image.open(file)


RGB = Image.fromarray(np.full((20, 30, 3), (200, 100, 50), np.uint8))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (stored(RGB, format="PNG"), (200, 100, 50)),
        (stored(RGB.convert("CMYK"), format="TIFF"), (200, 100, 50)),
        (stored(RGB.convert("P", palette=Image.Palette.ADAPTIVE), format="PNG"), (200, 100, 50)),
        (stored(RGB.convert("L"), format="PNG"), (124, 124, 124)),
        (stored(RGB.convert("LA"), format="PNG"), (124, 124, 124)),
        (stored(Image.new("RGBA", (30, 20), (200, 100, 50, 0)), format="PNG"), (255, 255, 255)),
        (stored(Image.new("RGBA", (30, 20), (0, 0, 0, 128)), format="PNG"), (127, 127, 127)),
        (stored(Image.new("1", (30, 20), 1), format="PNG"), (255, 255, 255)),
        (stored(Image.fromarray(np.full((20, 30), 257 * 90, np.uint16)), format="PNG"), (90, 90, 90)),
        (stored(Image.fromarray(np.full((20, 30), 257 * 90, np.int32)), format="TIFF"), (90, 90, 90)),
        (stored(Image.fromarray(np.full((20, 30), 0.5, np.float32)), format="TIFF"), (128, 128, 128)),
        (stored(RGB, format="GIF", save_all=True, append_images=[Image.new("RGB", (30, 20))]), (200, 100, 50)),
    ],
)
def test_every_kind_of_image_becomes_rgb_bytes(image: Image.Image, expected: tuple[int, int, int]) -> None:
    pixels = decode_image(image, (8, 8), 3)
    assert pixels.shape == (3, 8, 8)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int).mean(axis=(1, 2)) - expected).max() <= 2


def test_grey_from_colour() -> None:
    assert decode_image(RGB, None, 1).shape == (1, 20, 30)
    assert abs(int(decode_image(RGB, (4, 4), 1).mean()) - 124) <= 1


def test_one_pixel_is_blown_up() -> None:
    assert (decode_image(stored(Image.new("RGB", (1, 1), "red"), format="PNG"), (5, 7), 3)[0] == 255).all()


def test_centre_is_cut_and_nothing_is_squeezed() -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255  # the middle third is white
    assert (decode_image(Image.fromarray(pixels), (10, 10), 3) == 255).all()
    small = decode_image(Image.fromarray(pixels), (5, 15), 3)
    assert small.shape == (3, 5, 15)
    assert (small[:, :, 6:9] > 250).all()
    assert (small[:, :, :4] < 5).all()


def test_resize_is_antialiased() -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(decode_image(Image.fromarray(stripes), (8, 8), 1)[:, :, 1:-1].astype(int) - 127).max() <= 4


def test_orientation_tag_is_obeyed() -> None:
    image = Image.new("RGB", (20, 10))
    exif = image.getexif()
    exif[0x0112] = 6  # turn by 90 degrees
    assert decode_image(stored(image, format="JPEG", exif=exif), None, 3).shape == (3, 20, 10)


def test_jpeg_decoded_small_looks_like_jpeg_decoded_whole() -> None:
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).resize(
        (480, 480), Image.Resampling.BICUBIC
    )
    jpeg = stored(smooth, format="JPEG", quality=95)
    whole = decode_image(jpeg.convert("RGB"), (48, 48), 3)
    quick = decode_image(stored(smooth, format="JPEG", quality=95), (48, 48), 3)
    assert np.abs(whole.astype(int) - quick).mean() < 2


def test_huge_images_are_refused_before_their_pixels_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_module, "MAX_PIXELS", 500)
    with pytest.raises(ValueError, match="30×20 pixels are more than 500"):
        decode_image(stored(RGB, format="PNG"), (8, 8), 3)


def test_a_file_of_a_billion_pixels_is_named(folder: Path) -> None:
    Image.new("1", (2, 2)).save(folder / "ash" / "bomb.png")
    content = bytearray((folder / "ash" / "bomb.png").read_bytes())
    content[16:24] = (40_000).to_bytes(4, "big") * 2  # width and height in the header
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (folder / "ash" / "bomb.png").write_bytes(content)
    with pytest.raises(UserError, match=r"image 'ash/bomb.png' cannot be read .*limit"):
        ImageData(root=str(folder), image_size=8).setup()


@pytest.mark.parametrize("shape", [(4,), (4, 4, 2), (2, 4, 4, 3)])
def test_arrays_that_are_no_pictures(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="is not a picture"):
        decode_image(np.zeros(shape, np.uint8), None, 3)


def test_arrays_of_several_types() -> None:
    for value, dtype, expected in [(90, np.uint8, 90), (257 * 90, np.uint16, 90), (0.5, np.float64, 128)]:
        assert (decode_image(np.full((4, 4, 1), value, dtype), None, 3) == expected).all()


@pytest.mark.parametrize("name", ["empty.jpg", "text.jpg", "cut.jpg", "cut.png", "cut.gif"])
def test_damaged_files_are_named(folder: Path, name: str) -> None:
    whole = io.BytesIO()
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    kind = {"jpg": "JPEG", "png": "PNG", "gif": "GIF"}[name[-3:]]
    noise.save(whole, format=kind)
    content = {"empty": b"", "text": b"hello, world"}.get(name[:-4], whole.getvalue()[: len(whole.getvalue()) // 3])
    (folder / "ash" / name).write_bytes(content)
    with pytest.raises(UserError, match=f"image 'ash/{name}' cannot be read"):
        ImageData(root=str(folder), image_size=8).setup()
