"""Labelled images in: sources, splits, samplers, transforms, and the datamodule that puts them together."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dml.data.batch import Batch, BatchNumbering
    from dml.data.catalog import Catalog, Source
    from dml.data.datamodule import ImageData
    from dml.data.labelled_data import LabelledData, datamodule_of
    from dml.data.samplers.class_balanced import balanced_batches
    from dml.data.samplers.random import random_batches
    from dml.data.sources.arrays import ArrayFile, Arrays
    from dml.data.sources.digits import Digits
    from dml.data.sources.folder import ImageFolder
    from dml.data.sources.huggingface import HuggingFace
    from dml.data.sources.lance import Lance
    from dml.data.sources.manifest import Manifest
    from dml.data.sources.omniglot import Omniglot, OmniglotRuns
    from dml.data.sources.points import Points
    from dml.data.sources.retrieval_benchmarks import CUB200, Cars196, InShop, StanfordOnlineProducts
    from dml.data.sources.torch_dataset import TorchDataset
    from dml.data.sources.torchvision import TorchvisionSet
    from dml.data.splits.folds import DefaultSplit, FoldSplit, OfficialSplit
    from dml.data.splits.splits import ClassDisjointSplit, GroupedSplit, Parts, Split, StratifiedSplit
    from dml.data.transforms.augmentation import Augmentation
    from dml.data.transforms.base import AddressedTransform, Views, ViewTransform
    from dml.data.transforms.per_image import PerImage
    from dml.data.transforms.views import MultiCrop, ProgressiveResizing, RotationClasses

__all__ = [
    "CUB200",
    "AddressedTransform",
    "ArrayFile",
    "Arrays",
    "Augmentation",
    "Batch",
    "BatchNumbering",
    "Cars196",
    "Catalog",
    "ClassDisjointSplit",
    "DefaultSplit",
    "Digits",
    "FoldSplit",
    "GroupedSplit",
    "HuggingFace",
    "ImageData",
    "ImageFolder",
    "InShop",
    "LabelledData",
    "Lance",
    "Manifest",
    "MultiCrop",
    "OfficialSplit",
    "Omniglot",
    "OmniglotRuns",
    "Parts",
    "PerImage",
    "Points",
    "ProgressiveResizing",
    "RotationClasses",
    "Source",
    "Split",
    "StanfordOnlineProducts",
    "StratifiedSplit",
    "TorchDataset",
    "TorchvisionSet",
    "ViewTransform",
    "Views",
    "balanced_batches",
    "datamodule_of",
    "random_batches",
]


def __getattr__(name: str) -> Any:
    if name == "Samples":
        raise ImportError("dml.data.Samples is now dml.data.Catalog")
    if name in __all__:  # all at once: recipes name the classes that are loaded by their last word
        public = import_module("dml.data.public")
        globals().update({each: getattr(public, each) for each in __all__})
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
