"""Baselines of large sets: on a sample of the same classes on every side, beside the trained encoder on the same."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from dml.callbacks import KNNEvaluation
from dml.callbacks.baselines import draw_sample
from dml.data import ClassDisjointSplit, ImageData, StratifiedSplit
from dml.encoders import LinearEncoder
from dml.evaluation import retrieval_scores
from dml.heads import LinearHead
from dml.losses import TripletLoss
from dml.modules import ClassifierModule, EmbeddingModule
from dml.reports.verdict import verdict
from dml.runs import baseline_label


def loaders(*sides):
    ids = np.split(np.arange(sum(map(len, sides))), np.cumsum([len(side) for side in sides])[:-1])
    labels = torch.from_numpy(np.concatenate(sides))
    return [SimpleNamespace(labels=labels, ids=each) for each in ids]


def test_small_sets_are_scored_whole():
    both = loaders(np.arange(100) % 5, np.arange(300) % 5)
    assert draw_sample(both, (3, 8, 8), 400 * 3 * 64 * 4) is None
    assert draw_sample(both, (3, 8, 8), 400 * 3 * 64 * 4 - 1) is not None


@pytest.mark.parametrize("sizes", [(10_000, 40_000), (20_000,), (1000, 200_000)])
def test_a_sample_compares_few_pixels_too(sizes):
    found = loaders(*(np.arange(size) % 10 for size in sizes))
    sides = draw_sample(found, (1, 20, 50), 2**40).sides
    assert 0.9e10 < 1000 * len(sides[0]) * len(sides[-1]) <= 1e10
    shares = [len(ids) / size for ids, size in zip(sides, sizes, strict=True)]
    assert max(shares) == pytest.approx(min(shares), rel=0.1)


@pytest.mark.parametrize("classes", [2, 40, 3000])
@pytest.mark.parametrize("sides", [1, 2])
def test_a_sample_has_the_same_classes_on_every_side_and_fits(classes, sides):
    sizes = (20_000, 40_000)[-sides:]
    found = loaders(*(np.sort(np.arange(size) % classes) for size in sizes))
    room = 500
    sample = draw_sample(found, (1, 4, 4), 2 * room * 64)
    labels = found[0].labels.numpy()
    held = [set(labels[ids].tolist()) for ids in sample.sides]
    assert held[0] == held[-1]
    assert len(held[0]) >= min(classes, 60)
    assert sample.total == sum(sizes)
    assert 0.6 * room <= sample.size["images"] <= room
    for ids in sample.sides:
        assert np.unique(ids).tolist() == ids.tolist()
        assert np.bincount(labels[ids]).max() >= 2  # every class has a pair
        assert min(np.bincount(labels[ids])[sorted(held[0])]) >= 2


@pytest.mark.parametrize("split", [StratifiedSplit(val=0.3, test=0.2), ClassDisjointSplit(val=4, test=2)])
def test_baselines_and_the_trained_encoder_are_scored_on_the_same_sample(split):
    torch.manual_seed(0)
    data = ImageData(split=split, cache=False)
    limit = f"{2 * 200 * 64 * 4}B"
    evaluation = KNNEvaluation(k=3, ks=(1,), baseline_memory=limit)
    module = EmbeddingModule(LinearEncoder(4), TripletLoss(margin=0.5))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", devices=1, max_epochs=1, callbacks=[evaluation], **quiet)
    trainer.fit(module, datamodule=data)
    compared = evaluation.compared()
    assert list(compared) == ["pixels", "untrained", "trained_sample"]
    sides = evaluation._sample.sides
    pixels = [data.pixels.get(ids).flatten(1).float() / 127.5 - 1 for ids in sides]
    labels = [data.catalog.labels[ids] for ids in sides]
    with torch.no_grad():
        embedded = [module.encoder(images.view(-1, 1, 8, 8)) for images in pixels]
    for name, rows in (("pixels", pixels), ("trained_sample", embedded)):
        pair = [each for side in zip(rows, labels, strict=True) for each in side]
        expected = retrieval_scores(*pair, ks=(1,), knn_ks=(3,))
        assert compared[name]["val"] == pytest.approx(expected, abs=1e-6)
        assert compared[name]["sample"]["of"] == evaluation._sample.total
        assert 150 < compared[name]["sample"]["images"] <= 200
    low, high = (compared["trained_sample"][end]["map_at_r"] for end in ("low", "high"))
    assert low <= compared["trained_sample"]["val"]["map_at_r"] <= high
    again = KNNEvaluation(k=3, ks=(1,), baseline_memory=limit)
    again.load_state_dict(evaluation.state_dict())
    assert again.compared() == evaluation.baselines  # a resumed run keeps them


def test_a_run_is_judged_on_the_sample_and_tables_say_so():
    size = {"images": 500.0, "of": 90_000.0}
    baselines = {
        "pixels": {"val": {"map_at_r": 0.5}, "sample": size},
        "trained_sample": {
            "val": {"map_at_r": 0.7},
            "low": {"map_at_r": 0.6},
            "high": {"map_at_r": 0.8},
            "sample": size,
        },
    }
    scores = {"val": {"map_at_r": 0.2}, "intervals": {"val": {"map_at_r": [0.1, 0.3]}}, "baselines": baselines}
    assert verdict(scores).text == "MAP@R 0.700 [0.600, 0.800] is above raw pixels (0.500), on 500 of 90,000 images."
    assert verdict(scores | {"baselines": {"pixels": {"val": {"map_at_r": 0.5}}}}).better is False
    assert baseline_label("trained_sample", baselines["trained_sample"]) == "trained (500 of 90,000 images)"


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_baselines_and_scores_in_every_precision(precision):
    keys = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    evaluation = KNNEvaluation()
    trainer = Trainer(max_epochs=1, precision=precision, callbacks=[evaluation], enable_model_summary=False, **keys)
    module = ClassifierModule(LinearEncoder(4, normalize=True), LinearHead(10))
    data = ImageData(split=StratifiedSplit(val=100, test=0), batch_size=400)
    trainer.fit(module, datamodule=data)
    trainer.validate(module, datamodule=data, verbose=False)
    assert evaluation.baselines["pixels"]["val"]["knn_accuracy"] > 0.9
    assert {"pixels", "untrained"} == evaluation.baselines.keys()
