"""Numbers out of range are refused by name; those at the border are taken."""

import pytest
import torch

from dml.data import Augmentation, DefaultSplit, Digits, FoldSplit, ImageData, OfficialSplit, StratifiedSplit
from dml.encoders import AlexNetEncoder, ConvEncoder, MLPEncoder, StridedConvEncoder
from dml.errors import UserError
from dml.heads import LinearHead, MLPHead
from dml.losses import ContrastiveLoss, CrossBatchMemory, PullLoss, TripletLoss
from dml.ranges import check_number, check_widths
from dml.runs import check_name

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: ConvEncoder(2, dropout=-0.1), "dropout=-0.1: give a number of at least 0 and below 1"),
        (lambda: ConvEncoder(2, dropout=1.0), "dropout=1.0"),
        (lambda: ConvEncoder(2, channels=[]), "channels=\\[\\]: give at least one width"),
        (lambda: ConvEncoder(2, first_stride=0), "first_stride=0"),
        (lambda: ConvEncoder(10**9), "embedding_dim=1000000000: give at most 1,048,576"),
        (lambda: MLPEncoder(2, dropout=NAN), "dropout=nan"),
        (lambda: MLPEncoder(2, hidden_sizes=[4, -1]), "hidden_sizes=\\[4, -1\\]"),
        (lambda: AlexNetEncoder(2, dropout=2), "dropout=2"),
        (lambda: StridedConvEncoder(2, channels=[0]), "channels=\\[0\\]"),
        (lambda: LinearHead(1), "num_classes=1"),
        (lambda: MLPHead(3, dropout=-1), "dropout=-1"),
        (lambda: TripletLoss(margin=-0.5), "margin=-0.5"),
        (lambda: TripletLoss(margin=INF), "margin=inf"),
        (lambda: ContrastiveLoss(0.0, -1.0), "neg_margin=-1.0"),
        (lambda: ContrastiveLoss(0.0, 1.0, neg_weight=NAN), "neg_weight=nan"),
        (lambda: CrossBatchMemory(PullLoss(), 0, 2), "memory_size=0"),
        (lambda: Augmentation(brightness=-0.1), "brightness=-0.1"),
        (lambda: Augmentation(hue=0.6), "hue=0.6: give a number within 0..0.5"),
        (lambda: Augmentation(crop_padding=-1), "crop_padding=-1"),
        (lambda: Augmentation(erase_area=0.0), "erase_area=0.0"),
        (lambda: ImageData(eval_batch_size=0), "data.eval_batch_size=0"),
        (lambda: ImageData(workers=-1), "data.workers=-1"),
        (lambda: ImageData(memory_limit=-1), "data.memory_limit=-1"),
        (lambda: ImageData(image_size=10**6), "data.image_size=1000000"),
        (lambda: ImageData(std=[0.5, NAN, 0.5]), "data.std=nan"),
        (lambda: ImageData(seed=-1), "data.seed=-1"),
        (lambda: FoldSplit(folds=5000).assign(Digits().open(), 0), "5000 folds of 1797 samples"),
        (lambda: check_name("a" * 300, "run name"), "300 bytes"),
        (lambda: check_name("a\x1b[31m", "run name"), "cannot be seen"),
        (lambda: check_name("../a", "run name"), "plain folder name"),
    ],
)
def test_it_is_told(build, told):
    with pytest.raises(UserError, match=told):
        build()


def test_borders_are_taken():
    check_number("x", 0, least=0, below=1)
    check_widths("channels", [])
    check_name("first run_2", "run name")
    ConvEncoder(1, dropout=0.0)
    TripletLoss(margin=0.0)
    Augmentation(flip=1.0, hue=0.5, brightness=1.0, erase=1.0, erase_area=1.0)
    ImageData(workers=0, memory_limit=0.0)


def test_the_default_split_is_what_is_done_without_one():
    digits = Digits().open()
    for default, named in ((DefaultSplit(), StratifiedSplit()), (DefaultSplit(0.1, 0), StratifiedSplit(0.1, 0))):
        for part in ("train", "val", "test"):
            both = [torch.as_tensor(getattr(split.assign(digits, 3), part)) for split in (default, named)]
            assert torch.equal(*both)


def test_the_default_split_of_a_source_with_parts():
    catalog = Digits().open()
    catalog.parts.extend(["test" if i % 5 == 0 else "train" for i in range(len(catalog))])
    assert list(DefaultSplit(0.3).assign(catalog, 0).val) == list(OfficialSplit(0.3).assign(catalog, 0).val)
    with pytest.raises(UserError, match="test part of its own"):
        DefaultSplit(test=0.1).assign(catalog, 0)
