"""Hugging Face datasets, local or from the hub, where the `datasets` library is installed."""

import importlib
from pathlib import Path
from typing import Any, Literal

from dml.data.catalog import Catalog, Part, Raw, Source, index_labels, join
from dml.errors import UserError, reason_of

PARTS: dict[str, Part] = {"train": "train", "validation": "val", "valid": "val", "val": "val", "test": "test"}


class RowReader:
    """Reads the image of row i of a Hugging Face dataset."""

    def __init__(self, rows: Any, column: str) -> None:
        self.rows = rows
        self.column = column

    def __call__(self, index: int) -> Raw:
        """Read and decode row `index`."""
        image: Raw = self.rows[index][self.column]
        return image


class HuggingFace(Source):
    """A dataset of the `datasets` library (an optional extra: pip install datasets).

    Splits named train, validation and test become the source's own parts; other splits are left out. A dataset with
    one split has no parts.

    Args:
        path: a folder written by `save_to_disk`, or what `datasets.load_dataset` takes: a local folder or a name on the
            hub (downloaded once, then kept by that library).
        name: configuration of a dataset that has several.
        image: column of images.
        label: column of labels.
        channels: 1 (grey) or 3 (RGB).

    Raises:
        UserError: on `open`, where the library, the dataset or a column is missing.

    Example:
        >>> source = HuggingFace("folder/or/name", image="img", label="fine_label")
    """

    def __init__(
        self,
        path: str,
        name: str | None = None,
        image: str = "image",
        label: str = "label",
        channels: Literal[1, 3] = 3,
    ) -> None:
        self.path = path
        self.name = name
        self.image = image
        self.label = label
        self.channels: Literal[1, 3] = channels

    def open(self) -> Catalog:
        """Load the dataset and read its label columns."""
        splits = {part: rows for key, rows in self._load().items() if (part := PARTS.get(key, ""))}
        if not splits:
            raise UserError(f"'{self.path}' has no split named train, validation or test: give a dataset that has")
        pieces = [self._catalog_of(rows, part if len(splits) > 1 else "") for part, rows in splits.items()]
        catalog = pieces[0]
        for piece in pieces[1:]:
            catalog = join(catalog, piece)
        return catalog

    def _load(self) -> dict[str, Any]:
        try:
            datasets: Any = importlib.import_module("datasets")
        except ModuleNotFoundError:
            raise UserError("Hugging Face datasets need an extra: pip install datasets") from None
        try:
            saved = any((Path(self.path) / mark).exists() for mark in ("dataset_dict.json", "state.json"))
            found = datasets.load_from_disk(self.path) if saved else datasets.load_dataset(self.path, self.name)
        except Exception as error:  # a damaged folder fails in many ways
            raise UserError(
                f"no dataset '{self.path}' ({reason_of(error)}): give a saved folder or a name on the hub"
            ) from error
        return dict(found) if isinstance(found, dict) else {"train": found}

    def _catalog_of(self, rows: Any, part: Part) -> Catalog:
        for column in (self.image, self.label):
            if column not in rows.column_names:
                held = ", ".join(rows.column_names)
                raise UserError(f"'{self.path}' has no column '{column}' (found: {held}): name it in the source's keys")
        feature = rows.features[self.label]
        found = rows[self.label]
        keys = [feature.int2str(key) if hasattr(feature, "int2str") else str(key) for key in found]
        labels, class_names = index_labels(keys)
        return Catalog(
            labels=labels,
            class_names=class_names,
            names=[f"{part or 'row'}[{i}]" for i in range(len(keys))],
            reader=RowReader(rows, self.image),
            channels=self.channels,
            fingerprint=f"{rows._fingerprint} {self.image}" if getattr(rows, "_fingerprint", "") else "",
            parts=[part] * len(keys) if part else [],
        )
