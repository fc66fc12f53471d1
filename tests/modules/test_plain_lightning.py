"""The modules under a plain `lightning.Trainer`: any DataLoader of (images, labels), and Lightning's own callbacks."""

import copy
import sys

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelPruning, StochasticWeightAveraging, WeightAveraging
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dml.callbacks import KNNEvaluation
from dml.data import ImageData, StratifiedSplit
from dml.decoders import MLPDecoder
from dml.encoders import ConvEncoder, MLPEncoder
from dml.errors import UserError
from dml.evaluation import retrieval_scores
from dml.heads import LinearHead
from dml.losses import TripletLoss
from dml.modules import AutoencoderModule, ClassifierModule, EmbeddingModule

_NO_FORK = sys.platform != "linux" or torch.cuda.is_available()


def images_and_labels(count=60):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 5
    images = torch.rand(count, 1, 8, 8, generator=generator) + labels.view(-1, 1, 1, 1) / 5
    return images, labels


def loader(shuffle=False, batch_size=20):
    return DataLoader(TensorDataset(*images_and_labels()), batch_size=batch_size, shuffle=shuffle)


def trainer(**keys):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    return Trainer(enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=1, **{**quiet, **keys})


def modules():
    torch.manual_seed(0)
    return [
        EmbeddingModule(ConvEncoder(4, channels=[4]), TripletLoss(0.2)),
        ClassifierModule(MLPEncoder(4), LinearHead(5)),
        AutoencoderModule(MLPEncoder(4), MLPDecoder()),
    ]


@pytest.mark.parametrize("module", modules(), ids=lambda module: type(module).__name__)
def test_any_loader_of_images_and_labels_trains_validates_tests_and_predicts(module):
    evaluation = KNNEvaluation(k=1, ks=(1,))
    fitted = trainer(max_epochs=2, callbacks=[evaluation])
    fitted.fit(module, loader(shuffle=True), loader())
    images, labels = images_and_labels()
    module.eval()
    with torch.no_grad():
        rows = module.encoder(images)
    truth = retrieval_scores(rows, labels, ks=(1,), knn_ks=(1,))
    assert fitted.callback_metrics["val/map_at_r"] == pytest.approx(truth["map_at_r"], abs=1e-6)
    assert fitted.callback_metrics["train/loss"] > 0
    assert trainer().test(module, loader(), verbose=False)
    assert len(torch.cat(trainer().predict(module, loader()))) == 60


def test_queries_and_references_of_two_plain_loaders_are_different_images():
    module = EmbeddingModule(MLPEncoder(3), TripletLoss(0.2))
    evaluation = KNNEvaluation(k=1, ks=(1,))
    trainer(max_epochs=1, callbacks=[evaluation]).fit(module, loader(), [loader(), loader()])
    assert evaluation.latest.scores["recall_at_1"] == 1.0  # each finds its copy: it is not taken for itself
    assert not set(evaluation.queries.ids) & set(evaluation.references.ids)


def test_a_loader_of_something_else_is_told_in_one_line():
    module = EmbeddingModule(MLPEncoder(3), TripletLoss(0.2))
    with pytest.raises(UserError, match=r"not \(images, labels\)"):
        trainer(max_epochs=1).fit(module, DataLoader(torch.rand(8, 1, 8, 8), batch_size=4))


class Averaging(WeightAveraging):
    """The average of all weights so far, as in Lightning's own example of exponential averages."""

    def __init__(self):
        super().__init__(avg_fn=lambda average, weights, count: average + (weights - average) / (count + 1))

    def should_update(self, step_idx=None, epoch_idx=None):
        return step_idx is not None


@pytest.mark.parametrize(
    "callback",
    [
        Averaging(),
        StochasticWeightAveraging(swa_lrs=1e-3, swa_epoch_start=1),
        ModelPruning("l1_unstructured", amount=0.2, verbose=0),
    ],
    ids=lambda callback: type(callback).__name__,
)
@pytest.mark.parametrize("plain", [True, False], ids=["loaders", "ImageData"])
def test_callbacks_that_copy_or_prune_the_module_work(callback, plain):
    callback = copy.deepcopy(callback)
    module = EmbeddingModule(ConvEncoder(4, channels=[4]), TripletLoss(0.2))
    fit = trainer(max_epochs=3, limit_train_batches=2, callbacks=[callback])
    if plain:
        fit.fit(module, loader(), loader())
    else:
        fit.fit(module, datamodule=ImageData(split=StratifiedSplit(val=100, test=0), batch_size=50))
    assert all(bool(torch.isfinite(p).all()) for p in module.parameters())


def test_no_lazy_parameter_is_left_when_callbacks_set_up():
    seen = []

    class Watch(KNNEvaluation.__mro__[1]):
        def setup(self, trainer, pl_module, stage):
            seen.append([type(p).__name__ for p in pl_module.parameters()])
            copy.deepcopy(pl_module)

    module = EmbeddingModule(ConvEncoder(4, channels=[4]), TripletLoss(0.2))
    assert any(isinstance(p, nn.parameter.UninitializedParameter) for p in module.parameters())
    trainer(max_epochs=1, limit_train_batches=1, callbacks=[Watch()]).fit(module, loader(), loader())
    assert seen
    assert set(seen[0]) == {"Parameter"}


@pytest.mark.filterwarnings("ignore")  # a fork inherits that warnings are errors
@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param("ddp_fork", marks=pytest.mark.skipif(_NO_FORK, reason="autograd does not survive a fork here")),
        pytest.param("ddp_spawn", marks=pytest.mark.slow),
    ],
)
def test_processes_of_one_program_train_a_module_with_open_sizes(strategy):
    module = EmbeddingModule(MLPEncoder(3), TripletLoss(0.2))
    spawned = trainer(max_epochs=1, devices=2, strategy=strategy, limit_train_batches=1, limit_val_batches=1)
    spawned.fit(module, loader(), loader())
    assert spawned.state.finished
