"""Brings numbers of any scale to bytes, and refuses those that cannot be on the scale they are taken for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dml.errors import UserError

_KINDS = {"b": "booleans", "u": "whole numbers", "i": "whole numbers", "f": "floats"}
_WHITES = (1.0, 16.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)  # what is white in most files
_CHUNK = 2**24  # numbers that are looked at together


def white_of(array: NDArray[Any]) -> float:
    """Return the default for white: 65535 for uint16, 255 for other integers, 1 for other numbers.

    Raises:
        ValueError: the array holds no real numbers.

    Example:
        >>> white_of(np.zeros(1, np.int64)), white_of(np.zeros(1)), white_of(np.zeros(1, np.uint16))
        (255.0, 1.0, 65535.0)
    """
    if array.dtype.kind not in _KINDS:
        raise ValueError(f"numbers of type {array.dtype} are not pixels: give real numbers")
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:  # of either byte order
        return 65535.0
    return 255.0 if array.dtype.kind in "ui" else 1.0


def to_bytes(array: NDArray[Any], black: float = 0.0, white: float | None = None) -> NDArray[np.uint8]:
    """Scale numbers to bytes, round(255 · (x − black) / (white − black)); 16-bit numbers by default ⌊x / 257⌋.

    Args:
        array: real numbers of any shape.
        black: what becomes 0.
        white: what becomes 255; None: as `white_of` has it.

    Raises:
        ValueError: a number is NaN or infinite, or more than half a grey level outside black to white.

    Example:
        >>> to_bytes(np.array([0.0, 0.5, 1.0])), to_bytes(np.array([0, 8, 16]), white=16)
        (array([  0, 128, 255], dtype=uint8), array([  0, 128, 255], dtype=uint8))
    """
    top = white_of(array) if white is None else white
    if white is None and black == 0 and array.dtype == np.uint8:
        return np.asarray(array)
    if white is None and black == 0 and top == 65535:
        return (array // 257).astype(np.uint8)
    if not (finite := np.isfinite(array)).all():
        raise ValueError(f"{finite.size - finite.sum()} of {finite.size} values are NaN or infinite")
    scaled = (array.astype(np.float64) - black) * (255 / (top - black))
    if array.size and not (scaled.min() >= -0.5 and scaled.max() <= 255.5):
        told = f"values from {array.min():g} to {array.max():g} are not within {black:g} to {top:g}"
        raise ValueError(f"{told}, the source's black and white")
    return np.rint(scaled).clip(0, 255).astype(np.uint8)


def check_scale(images: NDArray[Any], black: float, white: float | None, what: str, mend: str) -> None:
    """Check that the numbers of a whole array of images are on the scale they are taken for.

    Numbers that are not finite are ignored here: they only spoil their own image.

    Args:
        images: (N, …).
        black: what is taken for black.
        white: what is taken for white; None: as `white_of` has it.
        what: the array's name for the message.
        mend: where black and white are given.

    Raises:
        UserError: numbers lie outside, or none is bright enough to be told from black; says how many, and the fix.

    Example:
        >>> check_scale(np.array([[0.0, 16.0], [0.0, 0.5]]), 0, None, "digits.npz", "give")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: digits.npz: 1 of 2 images hold values outside 0..1, they reach from 0 to 16: give
        white: 16 (or what white is there)
    """
    try:
        top = white_of(images) if white is None else white
    except ValueError as error:
        raise UserError(f"{what}: {error}") from error
    if not top > black:
        raise UserError(f"{what}: white is {top:g} and black {black:g}: give a larger white")
    if images.dtype.kind == "b" or (images.dtype == np.uint8 and black <= 0 and top >= 255):
        return
    half = (top - black) / 510
    low, high, outside = np.inf, -np.inf, 0
    step = max(1, _CHUNK // max(1, images[:1].size))
    for start in range(0, len(images), step):
        rows = images[start : start + step].reshape(len(images[start : start + step]), -1)
        kept = np.isfinite(rows)
        low = min(low, float(rows.min(where=kept, initial=np.inf)) if rows.dtype.kind == "f" else float(rows.min()))
        high = max(high, float(rows.max(where=kept, initial=-np.inf)) if rows.dtype.kind == "f" else float(rows.max()))
        outside += int((kept & ((rows < black - half) | (rows > top + half))).any(axis=1).sum())
    told = f"they reach from {low:g} to {high:g}"
    whites = [usual for usual in _WHITES if high <= usual] or [high]
    mend += (f" black: {low:g}," if low < black else "") + f" white: {whites[0]:g} (or what white is there)"
    if outside:
        raise UserError(
            f"{what}: {outside} of {len(images)} images hold values outside {black:g}..{top:g}, {told}: {mend}"
        )
    if low >= black and high <= 255 and top == 65535 and high > 0:
        raise UserError(f"{what}: the {len(images)} images are black as 16-bit numbers, {told} of 65535: {mend}")


def count_not_finite(images: NDArray[Any]) -> tuple[int, int]:
    """Count the images (N, …) that hold NaN or infinity; also the position of the first, −1 where there is none.

    Example:
        >>> count_not_finite(np.array([[0.0], [np.nan]]))
        (1, 1)
    """
    if images.dtype.kind != "f":
        return 0, -1
    step = max(1, _CHUNK // max(1, images[:1].size))
    bad = [
        start + np.flatnonzero(~np.isfinite(rows.reshape(len(rows), -1)).all(axis=1))
        for start in range(0, len(images), step)
        for rows in [images[start : start + step]]
    ]
    found = np.concatenate([*bad, np.empty(0, np.int64)])
    return len(found), int(found[0]) if len(found) else -1
