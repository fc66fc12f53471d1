"""All that modules and callbacks ask of their data; another modality implements it."""

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dml.data.embedding_table import EmbeddingTable
from dml.data.loader import BatchLoader
from dml.data.splits.splits import Parts

Indices = NDArray[np.int64]
Scale = float | list[float]


class LabelledData(L.LightningDataModule, ABC):
    """Labelled samples in parts, served as `Batch`es; a recipe chooses another kind by `data.class_path`.

    Implement `setup`, Lightning's loader hooks and the abstract method below. `setup` may be called any number of
    times, by any process, and sets these attributes:

    Attributes:
        image_shape: shape of one sample as an encoder gets it: (C, H, W) of images, (V,) of bags of words.
        class_names: names of the classes, in label order.
        parts: positions of the samples that train, validate and test.
        embedded: a table of embeddings, empty; a module with a frozen encoder fills it, and loaders of untransformed
            samples hand out its rows in place of samples.

    Loaders: `train_dataloader` yields this process's share of the batches of an epoch; `val_dataloader` and
    `test_dataloader` are lists of queries and, where they are searched among other samples, references, each of them
    this process's share.
    """

    image_shape: tuple[int, ...]
    class_names: list[str]
    parts: Parts
    embedded: EmbeddingTable

    @abstractmethod
    def setup(self, stage: str = "fit") -> None:
        """Read and split the samples; a second call does nothing."""

    @abstractmethod
    def ordered_dataloader(self, ids: Indices) -> BatchLoader:
        """Serve these samples in the order given, untransformed, all of them to every process."""

    def count_labels(self) -> int:
        """Return `num_labels` before anything else is asked; override it where that takes less than `setup`."""
        self.setup("fit")
        return self.num_labels

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def num_labels(self) -> int:
        """How many labels training batches may have: more than classes where a transform makes classes of its own."""
        return self.num_classes

    @property
    def view_shapes(self) -> list[tuple[int, ...]]:
        """Shapes that training samples may have: others than `image_shape` where a transform changes sizes."""
        return [self.image_shape]

    @property
    def scale(self) -> tuple[Scale, Scale]:
        """Mean and standard deviation that values within 0..1 were normalised by; one number or one per channel."""
        return 0.5, 0.5

    @property
    def transformed(self) -> bool:
        """Whether training samples are changed at random."""
        return False

    @property
    def embedding_cache(self) -> tuple[Path, str] | None:
        """The folder for embeddings of frozen encoders and a hash of all samples as served; None: keep none."""
        return None

    @property
    def test_part(self) -> str:
        """A name of the test samples, by which records know them again."""
        return self.name_of_all(self.parts.test)

    def name_of_all(self, ids: Indices) -> str:
        """Return one name of several samples in their order: 16 hexadecimal digits of their names' hash."""
        names = "\n".join(map(str, self.names_of(ids))) if len(ids) else ""
        return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def names_of(self, ids: Indices) -> NDArray[np.str_]:
        """Return a name (n,) for each sample that a person can find it by."""
        return np.array([str(i) for i in ids])

    @property
    def group_rule(self) -> Literal["any", "same", "other", "cross"]:
        """Which references a query is compared with where the recipe says nothing, as in `KNNEvaluation`."""
        return "any"

    def groups_of(self, ids: Indices) -> Indices | None:
        """Return the group (n,) of samples: a camera, a sequence, a run; None if no groups are known."""
        return None

    def thumbnails(self, ids: Indices) -> Tensor | None:
        """Return pictures, uint8 (n, C, H, W) on the CPU, or None where samples cannot be shown."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return what the run's protocol says about the data."""
        return {
            "source": type(self).__name__,
            "trained_on": {"images": len(self.parts.train), "classes": self.num_classes},
            "held_back_images": {"val": len(self.parts.val), "test": len(self.parts.test)},
            "scored_against": "the other held-back images" if self.parts.class_disjoint else "the training images",
            "image_shape": list(self.image_shape),
            "class_disjoint": self.parts.class_disjoint,
            "test_part": self.test_part,
        }


def datamodule_of(trainer: L.Trainer) -> LabelledData | None:
    """Return the trainer's datamodule, None if it was given plain loaders.

    Example:
        >>> datamodule_of(L.Trainer(logger=False, accelerator="cpu", enable_progress_bar=False)) is None
        True
    """
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, LabelledData) else None
