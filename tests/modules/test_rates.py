"""Learning rates of single layers, and of all of them where Lightning's finder sets one."""

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.tuner import Tuner
from pytorch_metric_learning.losses import ProxyAnchorLoss

from dml.data import ImageData
from dml.encoders import ConvEncoder, MLPEncoder
from dml.errors import UserError
from dml.losses import TripletLoss
from dml.modules import EmbeddingModule


def groups_of(**keys):
    module = EmbeddingModule(MLPEncoder(8, hidden_sizes=[6, 4]), optimizer=lambda p: torch.optim.SGD(p, lr=0.5), **keys)
    module.build((1, 4, 4))
    return module, module.configure_optimizers().param_groups


def test_the_last_layer_learns_at_the_optimisers_rate_and_those_below_at_less():
    module, groups = groups_of(loss=TripletLoss(margin=0.5), encoder_lr=0.1, encoder_lr_decay=0.5)
    assert [group["lr"] for group in groups] == [0.5, 0.1, 0.05]
    assert [p.shape[0] for group in groups for p in group["params"] if p.ndim == 2] == [8, 4, 6]
    assert sum(len(group["params"]) for group in groups) == len(list(module.parameters()))


def test_a_loss_with_weights_is_in_a_group_of_its_own():
    loss = ProxyAnchorLoss(num_classes=3, embedding_size=8)
    for rate, expected in ((None, 0.5), (2.0, 2.0)):
        _, groups = groups_of(loss=loss, encoder_lr=0.1, loss_lr=rate)
        assert [group["lr"] for group in groups] == [0.5, 0.1, 0.1, expected]
        assert groups[-1]["params"] == [loss.proxies]


def test_a_frozen_layer_is_in_no_group():
    module = EmbeddingModule(MLPEncoder(8, hidden_sizes=[6, 4]), TripletLoss(margin=0.5), encoder_lr=0.1)
    module.build((1, 4, 4))
    module.encoder.layers[0].requires_grad_(False) if hasattr(module.encoder, "layers") else None
    frozen = {id(p) for p in module.parameters() if not p.requires_grad}
    assert frozen
    assert not frozen & {id(p) for group in module.learnt_parameters() for p in group["params"]}


@pytest.mark.parametrize("keys", [{"encoder_lr": 0.0}, {"encoder_lr": 0.1, "encoder_lr_decay": 0.0}])
def test_rates_out_of_range_are_refused(keys):
    with pytest.raises(UserError, match=r"model\.encoder_lr"):
        groups_of(loss=TripletLoss(margin=0.5), **keys)
    with pytest.raises(UserError, match=r"set model\.encoder_lr"):
        groups_of(loss=TripletLoss(margin=0.5), encoder_lr_decay=0.5)


def test_a_rate_that_was_found_scales_all_groups():
    module, _ = groups_of(loss=TripletLoss(margin=0.5), encoder_lr=0.1)
    module.lr = 0.05
    assert [group["lr"] for group in module.configure_optimizers().param_groups] == pytest.approx([0.05, 0.01, 0.01])


@pytest.mark.parametrize("classes", ["auto", 10, None])
@pytest.mark.filterwarnings("ignore")
def test_lightnings_tuner_works_with_class_balanced_batches(classes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = EmbeddingModule(ConvEncoder(4, channels=[2]), TripletLoss(margin=0.5))
    data = ImageData(batch_size=60, classes_per_batch=classes, cache=False)
    plain = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=1, enable_model_summary=False, **plain)
    tuner = Tuner(trainer)
    found = tuner.lr_find(module, datamodule=data, num_training=15)
    assert module.lr == found.suggestion()
    size = tuner.scale_batch_size(module, datamodule=data, init_val=20, max_trials=2, steps_per_trial=1)
    assert data.batch_size == size == 40
    trainer.fit(module, datamodule=data)
    assert trainer.optimizers[0].param_groups[0]["lr"] == module.lr
    assert trainer.global_step in (27, 28)  # of 1,079 images, some class-balanced batches repeat one
