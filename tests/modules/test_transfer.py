"""Discriminative learning rates and gradual unfreezing: exact groups, frozen layers bit for bit, exact resume."""

import copy

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from dml.data import ImageData, StratifiedSplit
from dml.encoders import (
    AlexNetEncoder,
    ConvEncoder,
    Encoder,
    FlattenEncoder,
    LoRAEncoder,
    MLPEncoder,
    TorchvisionEncoder,
    WhitenedConvEncoder,
    layers_of,
    materialize,
)
from dml.errors import UserError
from dml.heads import LinearHead
from dml.modules import ClassifierModule
from dml.modules.unfreezing import fixed_weights, unfreeze


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01)


def make(encoder=None, **keys):
    torch.manual_seed(0)
    encoder = ConvEncoder(8, channels=[4, 8], dropout=0.5) if encoder is None else encoder
    return ClassifierModule(encoder, LinearHead(10), optimizer=sgd, **keys)


def fit(module, epochs, callbacks=(), ckpt_path=None, checkpointing=False):
    data = ImageData(split=StratifiedSplit(val=100, test=0), batch_size=400, cache=False)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=checkpointing,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
    )
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
    return trainer


def names_of(module, parameters):
    known = {id(p): name for name, p in module.named_parameters()}
    return sorted(known[id(p)] for p in parameters)


def test_the_groups_go_from_the_head_to_the_first_layer():
    module = make(MLPEncoder(4, hidden_sizes=[16, 8]), encoder_lr=0.01, encoder_lr_decay=0.5)
    (optimizer,) = fit(module, 1).optimizers
    found = [(names_of(module, group["params"]), group["lr"]) for group in optimizer.param_groups]
    layers = [name for name, child in module.encoder.named_modules() if isinstance(child, nn.Linear)]
    assert len(layers) == 3
    expected = [(["head.layer.bias", "head.layer.weight"], 0.1)]
    for rate, layer in zip((0.01, 0.005, 0.0025), reversed(layers), strict=True):
        expected.append(([f"encoder.{layer}.bias", f"encoder.{layer}.weight"], rate))
    assert found == expected


def test_a_normalisation_moves_with_the_layer_before_it():
    encoder = AlexNetEncoder(8)
    layers = layers_of(encoder)
    assert len(layers) == 5 + 3
    assert [type(layer.modules[0]) for layer in layers] == [nn.LazyConv2d] * 5 + [nn.LazyLinear] * 3
    assert any(isinstance(m, nn.LazyBatchNorm1d) for m in layers[4].modules)  # before the first fully connected layer
    every = [id(p) for layer in layers for p in layer.parameters]
    assert sorted(every) == sorted(id(p) for p in encoder.parameters())


class Wrapped(Encoder):
    """As torchvision's networks are wrapped: a token of its own, blocks, a projection."""

    def __init__(self):
        super().__init__()
        self.network = _Network()
        self.projection = nn.Linear(4, 2)

    def forward(self, images):
        return self.projection(self.network(images))


class _Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(4))
        self.stem = nn.Linear(64, 4)
        self.norm = nn.LayerNorm(4)
        self.blocks = nn.Sequential(_Block(), _Block())

    def forward(self, images):
        return self.blocks(self.norm(self.stem(images.flatten(1)) + self.token))


class _Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))

    def forward(self, x):
        return x + self.inner(x)


def test_blocks_count_as_one_and_loose_parameters_belong_to_the_first_layer():
    encoder = Wrapped()
    layers = layers_of(encoder)
    assert [layer.name for layer in layers] == ["network.stem", "network.blocks.0", "network.blocks.1", "projection"]
    assert any(p is encoder.network.token for p in layers[0].parameters)
    assert any(p is encoder.network.norm.weight for p in layers[0].parameters)
    assert sum(len(layer.parameters) for layer in layers) == len(list(encoder.parameters()))


class Watch(Callback):
    """Keeps the encoder's weights as they are at the start and end of every epoch."""

    def __init__(self):
        self.before, self.changed, self.modes = None, [], []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx == 0:
            self.before = copy.deepcopy(module.encoder.state_dict())
            self.modes.append([any(m.training for m in layer.modules) for layer in layers_of(module.encoder)])

    def on_train_epoch_end(self, trainer, module):
        after = module.encoder.state_dict()
        changed = {name for name in after if not torch.equal(self.before[name], after[name])}
        self.changed.append({".".join(name.split(".")[:-1]) for name in changed})


def test_layers_begin_to_move_one_by_one_from_the_last_and_the_others_stay_bit_for_bit():
    module, watch = make(freeze_encoder=True, unfreeze_every=2), Watch()
    fit(module, 8, [watch])
    order = ["projection", "stages.1.3", "stages.1.0", "stages.0.3", "stages.0.0"]
    assert [layer.name for layer in reversed(layers_of(module.encoder))] == order
    names = {id(part): name for name, part in module.encoder.named_modules()}
    for epoch, (changed, modes) in enumerate(zip(watch.changed, watch.modes, strict=True)):
        moving = layers_of(module.encoder)[5 - epoch // 2 :]
        assert changed <= {names[id(part)] for layer in moving for part in layer.modules}
        assert {layer.name for layer in moving} <= changed
        assert modes == [False] * (5 - epoch // 2) + [True] * (epoch // 2)


@pytest.mark.parametrize(
    ("encoder", "fixed"),
    [
        (lambda: TorchvisionEncoder("resnet18", embedding_dim=4, freeze_network=True), "network."),
        (lambda: LoRAEncoder(TorchvisionEncoder("resnet18", embedding_dim=4), rank=2, targets=["conv1"]), "base_layer"),
        (lambda: WhitenedConvEncoder(4, channels=(4, 4)), None),
    ],
)
def test_what_an_encoder_never_learns_stays_fixed_when_its_layers_are_unfrozen(encoder, fixed):
    module = make(encoder(), freeze_encoder=True, unfreeze_every=1)
    kept = {name for name, p in module.encoder.named_parameters() if not p.requires_grad}
    assert kept
    assert fixed is None or all(fixed in name or "network" in name for name in kept)
    module.build((3, 32, 32))
    plain = encoder().train()
    materialize(plain, (3, 32, 32))
    unfreeze(module.encoder, 99, training=True, fixed=fixed_weights(plain))
    assert {name for name, p in module.encoder.named_parameters() if not p.requires_grad} == kept
    assert [part.training for part in module.encoder.modules() if not list(part.children())] == [
        part.training for part in plain.modules() if not list(part.children())
    ]
    learnt = {id(p) for p in module.learnt_parameters()}
    assert not any(id(p) in learnt for name, p in module.encoder.named_parameters() if name in kept)


def test_a_resumed_training_ends_where_the_unbroken_one_does(tmp_path):
    keys = {"freeze_encoder": True, "unfreeze_every": 1, "encoder_lr": 0.02, "encoder_lr_decay": 0.5}
    encoder = ConvEncoder(8, channels=[4, 8], dropout=0.0)
    encoder(torch.rand(2, 1, 8, 8))
    whole = make(copy.deepcopy(encoder), **keys)
    saver = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    fit(whole, 4, [saver], checkpointing=True)
    resumed = make(copy.deepcopy(encoder), **keys)
    watch = Watch()
    fit(resumed, 4, [watch], ckpt_path=tmp_path / "epoch=1.ckpt")
    assert len(watch.changed) == 2
    left, right = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"encoder_lr_decay": 0.5}, "set model.encoder_lr"),
        ({"unfreeze_every": 1}, "set model.freeze_encoder to true"),
        ({"unfreeze_every": 0, "freeze_encoder": True}, "at least 1"),
        ({"encoder_lr": 0.1, "freeze_encoder": True}, "a frozen encoder has no learning rate"),
    ],
)
def test_settings_that_contradict_each_other(keys, words):
    with pytest.raises(UserError, match=words):
        make(**keys)


@pytest.mark.parametrize("keys", [{"encoder_lr": -1.0}, {"encoder_lr": 0.1, "encoder_lr_decay": 2.0}])
def test_rates_out_of_range(keys):
    with pytest.raises(UserError, match=r"model\.encoder_lr="):
        fit(make(**keys), 1)


def test_a_schedule_with_one_rate_for_all_layers_is_refused_and_with_several_is_not():
    def one_cycle(max_lr):
        return lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=max_lr, total_steps=10)

    with pytest.raises(UserError, match="gives all layers one rate"):
        fit(make(encoder_lr=0.01, lr_scheduler=one_cycle(0.1)), 1)
    rates = [0.1] + [0.01] * len(layers_of(ConvEncoder(8, channels=[4, 8])))
    fit(make(encoder_lr=0.01, lr_scheduler=one_cycle(rates), lr_interval="step"), 1)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.MultiMarginLoss()])
def test_losses_of_torch_train_a_head(loss):
    torch.manual_seed(0)
    module = ClassifierModule(
        FlattenEncoder(),
        LinearHead(10),
        loss=loss,
        optimizer=sgd,
        lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.9),
        lr_interval="step",
    )
    trainer = fit(module, 5)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1 * 0.9 ** (trainer.global_step // 3))
    assert trainer.callback_metrics["val/accuracy"] > 0.8
