"""Decodes one image of any kind to uint8 (C, H, W) of one size."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dml.data.catalog import Raw
from dml.data.images.scale import to_bytes

MAX_PIXELS = 2**27  # 11585 × 11585: beyond it a file is refused before its pixels are decoded
SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def decode_image(raw: Raw, size: tuple[int, int] | None, channels: Literal[1, 3]) -> NDArray[np.uint8]:
    """Bring an image to a given size and number of channels.

    The shorter side is resized to fit (bilinear with antialiasing), then the centre is cut out; the picture is never
    squeezed. Orientation tags are obeyed. Transparent pixels are laid on white, CMYK and palettes become RGB, 16-bit
    and float images are scaled to 8 bits (65535 -> 255; floats within 0..1), of an animation the first frame is taken.

    Args:
        raw: a PIL image, or an array (H, W) or (H, W, C) with 1, 3 or 4 channels.
        size: (height, width) in pixels; None keeps the image's own.
        channels: 1 (grey) or 3 (RGB).

    Returns:
        uint8 (C, H, W).

    Raises:
        ValueError: the image has more than 2²⁷ pixels or is not a picture.

    Example:
        >>> decode_image(np.zeros((20, 10), np.uint8), (8, 8), 3).shape
        (3, 8, 8)
    """
    image = raw if isinstance(raw, Image.Image) else image_of_array(raw)
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width}×{image.height} pixels are more than {MAX_PIXELS}; make it smaller")
    if size is not None and image.format == "JPEG":
        # JPEG can be decoded at 1/2, 1/4, 1/8 for a fraction of the work; twice the wanted size keeps the resize smooth
        image.draft(None, (2 * max(size), 2 * max(size)))
    mode: Literal["L", "RGB"] = "L" if channels == 1 else "RGB"
    image = flatten(ImageOps.exif_transpose(image) if image.format else image, mode)
    if size is not None:
        image = fit_center(image, size)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def image_of_array(array: NDArray[Any]) -> Image.Image:
    """Make a PIL image of an array (H, W) or (H, W, C) of bytes, 16-bit numbers or floats within 0..1.

    Raises:
        ValueError: it has another shape, or numbers on another scale.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ValueError(f"an array of shape {array.shape} is not a picture; expected (H, W) or (H, W, 1, 3 or 4)")
    if not array.size:
        raise ValueError(f"an array of shape {array.shape} holds no pixels")
    return Image.fromarray(to_bytes(array))


def flatten(image: Image.Image, mode: Literal["L", "RGB"]) -> Image.Image:
    """Bring any PIL mode to grey or RGB bytes."""
    if image.mode == mode:
        return image
    if image.mode in SIXTEEN_BIT:
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"whole numbers from {values.min()} to {values.max()}, not within 0 to 65535")
        image = Image.fromarray((values // 257).astype(np.uint8))
    elif image.mode == "F":
        image = image_of_array(np.asarray(image))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def fit_center(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize the shorter side to fit and cut the centre, in one resampling step."""
    height, width = size
    if image.size == (width, height):
        return image
    scale = max(height / image.height, width / image.width)
    half_w, half_h = width / scale / 2, height / scale / 2
    x, y = image.width / 2, image.height / 2
    box = (max(0.0, x - half_w), max(0.0, y - half_h), min(image.width, x + half_w), min(image.height, y + half_h))
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)
