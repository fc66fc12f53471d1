"""torchvision's datasets by name, downloaded if they offer it."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torchvision.datasets as sets

from dml.data.catalog import ArrayReader, Catalog, Part, Reader, Source, join
from dml.data.sources.arrays import hash_array
from dml.data.sources.files import Folder
from dml.data.sources.omniglot import Omniglot
from dml.data.sources.torch_dataset import catalog_of
from dml.errors import UserError, reason_of

Name = Literal["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100", "SVHN", "Flowers102", "FGVCAircraft", "Omniglot"]
IDX = "{name}/raw/train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte"
WITH_VAL = ("Flowers102", "FGVCAircraft")
FILES = {
    "MNIST": IDX.format(name="MNIST"),
    "FashionMNIST": IDX.format(name="FashionMNIST"),
    "CIFAR10": "cifar-10-batches-py/ (cifar-10-python.tar.gz unpacked)",
    "CIFAR100": "cifar-100-python/ (cifar-100-python.tar.gz unpacked)",
    "SVHN": "train_32x32.mat, test_32x32.mat",
    "Flowers102": "flowers-102/jpg/ (102flowers.tgz unpacked), flowers-102/imagelabels.mat, flowers-102/setid.mat",
    "FGVCAircraft": "fgvc-aircraft-2013b/ (fgvc-aircraft-2013b.tar.gz unpacked)",
    "Omniglot": "omniglot-py/images_background/, omniglot-py/images_evaluation/ (both zips unpacked)",
}


class TorchvisionSet(Source):
    """One of torchvision's datasets, all parts together, with the split its authors gave it.

    Train and test are the official parts; Flowers102 and FGVCAircraft have an official val besides. Omniglot's
    background characters train and its evaluation characters test, class-disjoint.

    Args:
        name: as torchvision has it.
        root: the folder that torchvision calls root.
        download: fetch the files if they are not there.

    Raises:
        UserError: on `open`, where files are missing (and could not be fetched); one line says which go where.

    Example:
        >>> TorchvisionSet("CIFAR10", root="no/such", download=False).open()
        Traceback (most recent call last):
        ...
        dml.errors.UserError: CIFAR10 is not in 'no/such': put cifar-10-batches-py/ (cifar-10-python.tar.gz
        unpacked) there
    """

    def __init__(self, name: Name, root: str, download: bool = True) -> None:
        self.name: Name = name
        self.root = root
        self.download = download

    def open(self) -> Catalog:
        """Load all parts."""
        root = Path(self.root).expanduser()
        parts: tuple[Part, ...] = ("train", "val", "test") if self.name in WITH_VAL else ("train", "test")
        try:
            pieces = [load(self.name, str(root), part, self.download) for part in parts]
        except (RuntimeError, OSError) as error:
            tried = " (the download failed)" if self.download else ""
            raise UserError(f"{self.name} is not in '{self.root}'{tried}: put {FILES[self.name]} there") from error
        except Exception as error:  # damaged files make torchvision stumble in many ways
            told = f"{self.name} in '{self.root}' cannot be read ({reason_of(error)})"
            raise UserError(f"{told}: put {FILES[self.name]} there again") from error
        for piece, part in zip(pieces, parts, strict=True):
            check(piece, f"{self.name}'s {part} part in '{self.root}'")
        if self.name == "Omniglot":
            base = root / "omniglot-py"
            return Omniglot(str(base / "images_background"), test=str(base / "images_evaluation")).open()
        catalog = describe(pieces[0], parts[0])
        for piece, part in zip(pieces[1:], parts[1:], strict=True):
            catalog = join(catalog, describe(piece, part))
        return catalog


def check(dataset: Any, what: str) -> None:
    """Refuse a part whose images and labels do not fit, or whose labels are of no class it names.

    Raises:
        UserError: one of these; torchvision looks at neither.
    """
    data, targets = getattr(dataset, "data", None), getattr(dataset, "targets", getattr(dataset, "labels", None))
    if data is None or targets is None:
        return
    labels, classes = np.asarray(targets), getattr(dataset, "classes", [])
    mend = "put its original files there again"
    if len(data) != len(labels):
        raise UserError(f"{what} has {len(data)} images and {len(labels)} labels: {mend}")
    if classes and len(labels) and not (labels.min() >= 0 and labels.max() < len(classes)):
        raise UserError(f"{what} has labels {labels.min()} to {labels.max()} for {len(classes)} classes: {mend}")
    sides = tuple(np.asarray(data).shape[1:3])
    if isinstance(dataset, sets.MNIST) and sides != (28, 28):
        raise UserError(f"{what} has images of {sides[0]}×{sides[1]} pixels, not 28×28: {mend}")


def load(name: Name, root: str, part: Part, download: bool) -> Any:
    """Build one part of a dataset, as torchvision provides it."""
    kind = getattr(sets, name)
    if name == "Omniglot":
        return kind(root, background=part == "train", download=download)
    if name in ("SVHN", *WITH_VAL):
        return kind(root, split=part, download=download)
    return kind(root, train=part == "train", download=download)


def describe(dataset: Any, part: Part) -> Catalog:
    """Catalog one part: from its array where it holds one, else from its files."""
    data = getattr(dataset, "data", None)
    if data is None:
        files = [Path(file) for file in dataset._image_files]
        return catalog_of(dataset, part, 3, Folder(Path()).fingerprint([file.as_posix() for file in files]))
    images = np.asarray(data)
    images = images.transpose(0, 2, 3, 1) if images.ndim == 4 and images.shape[1] == 3 else images
    reader: Reader = ArrayReader(images)
    return catalog_of(dataset, part, 1 if images.ndim == 3 else 3, hash_array(images), reader)
