"""Any torch Dataset of (image, label) as a source."""

from typing import Any, Literal

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from dml.data.catalog import Catalog, Part, Raw, Reader, Source, index_labels, join
from dml.data.images.read import bar
from dml.data.images.scale import to_bytes
from dml.errors import UserError


class DatasetReader:
    """Reads item i of a dataset; a tensor (C, H, W) becomes an array (H, W, C), on the scale from black to white."""

    def __init__(self, dataset: Dataset[Any], black: float = 0.0, white: float | None = None) -> None:
        self.dataset = dataset
        self.black = black
        self.white = white

    def __call__(self, index: int) -> Raw:
        """Read the image of item `index`."""
        image = self.dataset[index][0]
        if isinstance(image, Tensor):
            image = image.detach().cpu().numpy()
            image = image.transpose(1, 2, 0) if image.ndim == 3 else image
        if not isinstance(image, Image.Image | np.ndarray):
            raise ValueError(f"the dataset gives a {type(image).__name__}; expected a PIL image, a tensor or an array")
        if isinstance(image, np.ndarray) and (self.white is not None or self.black != 0):
            return to_bytes(image, self.black, self.white)
        return image


class TorchDataset(Source):
    """Items (image, label) of any torch Dataset, reached by its own class_path.

    Images are PIL images, uint8 or float (0..1) tensors (C, H, W), or arrays (H, W, C); further items of the tuple are
    passed over. Random transforms inside the dataset would be frozen by decoding once: leave them to `data.transform`.
    Labels come from `dataset.targets`, `.labels` or `._labels` where one is there, else every item is read once.
    Decoded images are not kept on disk, because nothing shows when a dataset's content changes.

    Args:
        dataset: the images, or the training part of them.
        test: the test part; the source then has a split of its own.
        channels: 1 (grey) or 3 (RGB).
        black: what is black in tensors and arrays on another scale, such as -1 where the dataset normalises.
        white: what is white there; None: 255 for integers, 1 for floats.

    Raises:
        UserError: on `open`, for a dataset without length or one whose items are not pairs.

    Example:
        >>> import torch
        >>> from torch.utils.data import TensorDataset
        >>> pairs = TensorDataset(torch.zeros(6, 3, 8, 8), torch.tensor([0, 1, 0, 1, 0, 1]))
        >>> TorchDataset(pairs).open().labels
        array([0, 1, 0, 1, 0, 1])
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        test: Dataset[Any] | None = None,
        channels: Literal[1, 3] = 3,
        black: float = 0.0,
        white: float | None = None,
    ) -> None:
        self.dataset = dataset
        self.test = test
        self.channels: Literal[1, 3] = channels
        self.black = black
        self.white = white

    def open(self) -> Catalog:
        """Read the labels."""
        reader = DatasetReader(self.dataset, self.black, self.white)
        train = catalog_of(self.dataset, "train" if self.test is not None else "", self.channels, reader=reader)
        if self.test is None:
            return train
        reader = DatasetReader(self.test, self.black, self.white)
        return join(train, catalog_of(self.test, "test", self.channels, reader=reader))


def catalog_of(
    dataset: Dataset[Any], part: Part, channels: Literal[1, 3], fingerprint: str = "", reader: Reader | None = None
) -> Catalog:
    """Catalog the items of a dataset, all of one part; its own class names are used where it has `classes`."""
    found = [label.item() if isinstance(label, Tensor | np.generic) else label for label in read_labels(dataset)]
    names = getattr(dataset, "classes", None)
    if isinstance(names, list | tuple) and all(isinstance(label, int) and 0 <= label < len(names) for label in found):
        labels, class_names = np.array(found, dtype=np.int64), [str(name) for name in names]
    else:
        labels, class_names = index_labels([str(label) for label in found])
    name = f"{type(dataset).__name__}{'/' + part if part else ''}"
    return Catalog(
        labels=labels,
        class_names=class_names,
        names=[f"{name}[{i}]" for i in range(len(found))],
        reader=reader or DatasetReader(dataset),
        channels=channels,
        fingerprint=fingerprint,
        parts=[part] * len(found) if part else [],
    )


def read_labels(dataset: Dataset[Any]) -> list[Any]:
    """Find the labels of a dataset without its images, or read every item."""
    if not hasattr(dataset, "__len__"):
        raise UserError(f"{type(dataset).__name__} has no length: only datasets with len() can be split and shuffled")
    count = len(dataset)
    for key in ("targets", "labels", "_labels"):
        found = getattr(dataset, key, None)
        if isinstance(found, list | tuple | np.ndarray | Tensor) and len(found) == count:
            return list(found)
    labels = []
    with bar(count, "reading labels") as step:
        for i in range(count):
            item = dataset[i]
            if not isinstance(item, tuple | list) or len(item) < 2:
                raise UserError(f"{type(dataset).__name__}: items are not (image, label) pairs; wrap it to give some")
            labels.append(item[1])
            step()
    return labels
