"""Modules under Lightning: frozen means frozen, misfits are told before training, schedules move."""

import copy

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from dml.data import ImageData, ProgressiveResizing, StratifiedSplit
from dml.encoders import ConvEncoder, FlattenEncoder, MLPEncoder
from dml.errors import UserError
from dml.heads import LinearHead
from dml.losses import TripletLoss
from dml.modules import ClassifierModule, EmbeddingModule


def _fit(module, epochs=1, transform=None, **trainer):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    data = ImageData(split=StratifiedSplit(val=100, test=0), batch_size=200, transform=transform)
    built = Trainer(max_epochs=epochs, enable_model_summary=False, num_sanity_val_steps=0, **quiet, **trainer)
    built.fit(module, datamodule=data)
    return built


def test_a_frozen_encoder_stays_as_it_was_bit_for_bit():
    module = ClassifierModule(ConvEncoder(8, channels=[4], dropout=0.5), LinearHead(10), freeze_encoder=True)
    module.encoder(torch.rand(2, 1, 8, 8))
    before = copy.deepcopy(module.encoder.state_dict())
    _fit(module)
    after = module.encoder.state_dict()
    assert any(isinstance(m, nn.BatchNorm2d) for m in module.encoder.modules())
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(m.training for m in module.encoder.modules())


def test_a_moving_encoder_moves():
    module = ClassifierModule(ConvEncoder(8, channels=[4]), LinearHead(10))
    module.encoder(torch.rand(2, 1, 8, 8))
    before = copy.deepcopy(module.encoder.state_dict())
    _fit(module)
    assert not torch.equal(before["projection.weight"], module.encoder.state_dict()["projection.weight"])


@pytest.mark.parametrize("freeze", [False, True])
def test_the_mean_image_is_that_of_the_training_images_and_a_frozen_encoder_keeps_its_own(freeze):
    module = ClassifierModule(FlattenEncoder(center=True), LinearHead(10), freeze_encoder=freeze)
    data = _fit(module).datamodule
    pixels = torch.cat([batch.images for batch in data.ordered_dataloader(data.parts.train)]).flatten(1)
    expected = torch.zeros(64) if freeze else pixels.double().mean(dim=0).float()
    torch.testing.assert_close(module.encoder.mean, expected)
    restored = FlattenEncoder(center=True)  # it has seen no image yet, as in pretrained_encoder
    restored.load_state_dict(module.encoder.state_dict())
    assert torch.equal(restored.mean, module.encoder.mean)


def test_a_head_for_another_number_of_classes_is_refused():
    with pytest.raises(UserError, match="the head has 7 classes and the data has 10"):
        _fit(ClassifierModule(FlattenEncoder(), LinearHead(7)))


def test_a_head_for_another_size_is_refused():
    with pytest.raises(UserError, match=r"does not fit the encoder, whose embeddings have shape \(64,\)"):
        _fit(ClassifierModule(FlattenEncoder(), nn.Linear(32, 10)))


def test_images_in_a_size_that_the_encoder_cannot_take_are_refused_before_the_first_epoch():
    shrinks, stays = ProgressiveResizing([8, 4], [0, 5]), ProgressiveResizing([8], [0])  # epoch 5 is never reached
    told = r"data.transform shows images of 4×4 pixels, which MLPEncoder, built for 8×8, cannot take \(.+\): choose"
    with pytest.raises(UserError, match=told):
        _fit(EmbeddingModule(MLPEncoder(3), TripletLoss(margin=0.2)), transform=shrinks)
    _fit(EmbeddingModule(ConvEncoder(3, channels=[4]), TripletLoss(margin=0.2)), transform=shrinks)
    _fit(EmbeddingModule(MLPEncoder(3), TripletLoss(margin=0.2)), transform=stays)


def test_nothing_to_learn_is_refused():
    with pytest.raises(UserError, match="nothing to learn"):
        _fit(EmbeddingModule(FlattenEncoder(), TripletLoss(margin=0.2)))


@pytest.mark.parametrize(("interval", "steps"), [("epoch", 2), ("step", 18)])
def test_the_schedule_moves_by_epoch_or_by_step(interval, steps):
    module = EmbeddingModule(
        ConvEncoder(4, channels=[4]),
        TripletLoss(margin=0.2),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
        lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9),
        lr_interval=interval,
    )
    trainer = _fit(module, epochs=2)
    assert trainer.global_step == 18
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.9**steps)


def test_the_logged_accuracy_is_over_images_not_over_batches():
    module = ClassifierModule(FlattenEncoder(), LinearHead(10))
    trainer = _fit(module)
    data = trainer.datamodule
    with torch.no_grad():
        right = [module(b.images).argmax(1) == b.labels for b in data.val_dataloader()[0]]
    expected = torch.cat(right).float().mean().item()
    assert trainer.callback_metrics["val/accuracy"].item() == pytest.approx(expected, abs=1e-6)
