"""Labelled images in: sources, splits, batch plans, augmentation, and the datamodule that puts them together."""

from dml.data.augmentation import Augmentation
from dml.data.batch import Batch
from dml.data.datamodule import ImageData
from dml.data.digits import Digits
from dml.data.folder import ImageFolder
from dml.data.plans import balanced_batches, random_batches
from dml.data.samples import Samples, Source
from dml.data.splits import Parts, Split, StratifiedSplit

__all__ = [
    "Augmentation",
    "Batch",
    "Digits",
    "ImageData",
    "ImageFolder",
    "Parts",
    "Samples",
    "Source",
    "Split",
    "StratifiedSplit",
    "balanced_batches",
    "random_batches",
]
