"""Labelled images in: sources, splits, batch plans, augmentation, and the datamodule that puts them together."""

from dml.data.arrays import ArrayFile, Arrays
from dml.data.augmentation import Augmentation
from dml.data.batch import Batch
from dml.data.batches import balanced_batches, random_batches
from dml.data.benchmarks import CUB200, Cars196, InShop, StanfordOnlineProducts
from dml.data.datamodule import ImageData
from dml.data.dataset import TorchDataset
from dml.data.digits import Digits
from dml.data.folder import ImageFolder
from dml.data.folds import FoldSplit, OfficialSplit
from dml.data.huggingface import HuggingFace
from dml.data.manifest import Manifest
from dml.data.omniglot import Omniglot, OmniglotRuns
from dml.data.points import Points
from dml.data.samples import Samples, Source
from dml.data.splits import ClassDisjointSplit, GroupedSplit, Parts, Split, StratifiedSplit
from dml.data.torchvision_sets import TorchvisionSet

__all__ = [
    "CUB200",
    "ArrayFile",
    "Arrays",
    "Augmentation",
    "Batch",
    "Cars196",
    "ClassDisjointSplit",
    "Digits",
    "FoldSplit",
    "GroupedSplit",
    "HuggingFace",
    "ImageData",
    "ImageFolder",
    "InShop",
    "Manifest",
    "OfficialSplit",
    "Omniglot",
    "OmniglotRuns",
    "Parts",
    "Points",
    "Samples",
    "Source",
    "Split",
    "StanfordOnlineProducts",
    "StratifiedSplit",
    "TorchDataset",
    "TorchvisionSet",
    "balanced_batches",
    "random_batches",
]
