"""Small pictures of images, found by path, for pages; images that are gone or damaged have none."""

import io
from pathlib import Path
from typing import final

from PIL import Image, ImageOps

from dml.data.catalog import Reader
from dml.data.images.decode import image_of_array
from dml.data.sources.files import Folder, Tree, Zip

_SIDE = 144  # pixels: twice what a page shows, for sharp screens
_FORMATS = "JPEG"


@final
class Thumbnails:
    """Makes small JPEG pictures; folders and zips stay open between calls, and repeated requests are answered once."""

    def __init__(self) -> None:
        self._trees: dict[str, Tree | None] = {}
        self._made: dict[tuple[str, str], bytes | None] = {}

    def read(self, reader: Reader, position: int) -> bytes | None:
        """Return a picture of one image of a reader, None if it cannot be read."""
        try:
            raw = reader(position)
            image = raw if isinstance(raw, Image.Image) else image_of_array(raw)
            image.draft("RGB", (2 * _SIDE, 2 * _SIDE))
            image = ImageOps.exif_transpose(image).convert("RGB")
            image.thumbnail((_SIDE, _SIDE))
        except Exception:  # damaged files make Pillow stumble in many ways
            return None
        buffer = io.BytesIO()
        image.save(buffer, _FORMATS, quality=80)
        return buffer.getvalue()

    def stored(self, root: str, name: str) -> bytes | None:
        """Return a picture of an image that an index names by its folder or zip, None if it is not there."""
        if (root, name) not in self._made:
            if root not in self._trees:
                self._trees[root] = _open(root)
            tree = self._trees[root]
            self._made[root, name] = None if tree is None else self.read(tree.reader([name]), 0)
        return self._made[root, name]


def _open(root: str) -> Tree | None:
    place = Path(root)
    try:
        return Folder(place) if place.is_dir() else Zip(place, anywhere=True)
    except Exception:  # gone, or damaged since
        return None
