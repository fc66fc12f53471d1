"""Names of images in a store: which ones a pattern means, and which lead out of their folder."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dml.errors import UserError, printable

Key = tuple[str, str]  # root, name


def chosen(keys: Sequence[Key], patterns: Sequence[str], path: Path | str) -> NDArray[np.bool_]:
    """Return which images (N,) of a store some patterns mean; see `remove_images`.

    Raises:
        UserError: A pattern matches nothing.

    Example:
        >>> chosen([("/photos", "a/1.png"), ("/photos", "b/1.png")], ["a"], "x.npz")
        array([ True, False])
    """
    gone = np.zeros(len(keys), bool)
    for pattern in patterns:
        met = np.array([_meets(key, pattern.rstrip("/") or pattern) for key in keys], bool)
        if not met.any():
            raise UserError(f"--remove '{pattern}' matches no image in {path}: see `dml index {path}`")
        gone |= met
    return gone


def _meets(key: Key, pattern: str) -> bool:
    root, name = key
    whole = f"{root}/{name}"
    return pattern in (root, name, whole) or any(
        fnmatchcase(text, pattern) or text.startswith(f"{pattern}/") for text in (name, whole)
    )


def misnamed(name: str) -> str:
    """Return what is wrong with the name of an image; nothing if it stays below its root.

    Example:
        >>> misnamed("a/../../b.png"), misnamed("a/b..png")
        ("the name 'a/../../b.png' leads out of its folder", '')
    """
    if ".." in name.replace("\\", "/").split("/"):
        return f"the name {printable(name)!r} leads out of its folder"
    return f"the name {printable(name)!r} is an absolute path" if name.startswith("/") else ""
