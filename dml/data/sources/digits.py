"""The handwritten digits that ship with scikit-learn: real data with no download."""

import numpy as np
from sklearn.datasets import load_digits

from dml.data.catalog import ArrayReader, Catalog, Source
from dml.data.sources.arrays import hash_array


class Digits(Source):
    """1,797 handwritten digits of 10 classes, 8×8 grey pixels, part of every scikit-learn installation.

    scikit-learn gives whole numbers from 0 to 16; they are stretched to bytes: round(x · 255 / 16).

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998 (test part).

    Example:
        >>> catalog = Digits().open()
        >>> len(catalog), catalog.class_names[3], catalog.reader(0).shape
        (1797, '3', (8, 8))
    """

    def open(self) -> Catalog:
        """Load the images from scikit-learn's own files."""
        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        return Catalog(
            labels=digits.target.astype(np.int64),
            class_names=[str(name) for name in digits.target_names],
            names=[f"digit-{i:04d}" for i in range(len(images))],
            reader=ArrayReader(images),
            channels=1,
            fingerprint=hash_array(images),
        )
