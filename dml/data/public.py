"""What `dml.data` lists in its `__all__`; apart from its front page, so that decoding an image loads no torch."""
# ruff: noqa: F401

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
