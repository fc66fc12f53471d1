"""`channels_last` and `compile` change how an encoder computes, not what; and the optimisers of the speed records."""

import shutil
from functools import partialmethod

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from dml.data import ImageData, StratifiedSplit
from dml.decoders import ConvDecoder
from dml.encoders import ConvEncoder, MLPEncoder, ResidualEncoder, WhitenedConvEncoder, encoder_hash
from dml.errors import UserError
from dml.heads import LinearHead
from dml.losses import TripletLoss
from dml.modules import AutoencoderModule, ClassifierModule, EmbeddingModule


def fit(module):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=1, limit_train_batches=2, enable_model_summary=False, num_sanity_val_steps=0, **quiet)
    trainer.fit(module, datamodule=ImageData(split=StratifiedSplit(val=100, test=0), batch_size=50))
    return trainer


def built(kind, encoder, **keys):
    torch.manual_seed(0)
    network = encoder()
    keys = {"optimizer": lambda learnt: torch.optim.SGD(learnt, lr=0.1)} | keys  # Adam would blow rounding up
    if kind is EmbeddingModule:
        module = EmbeddingModule(network, TripletLoss(0.2), **keys)
    elif kind is ClassifierModule:
        module = ClassifierModule(network, LinearHead(10), **keys)
    else:
        module = AutoencoderModule(network, ConvDecoder(channels=[4]), **keys)
    module.build((1, 8, 8))  # draws the weights
    return module


@pytest.mark.parametrize("kind", [EmbeddingModule, ClassifierModule, AutoencoderModule])
def test_channels_last_trains_to_the_same_weights(kind):
    plain, ours = (built(kind, lambda: ConvEncoder(3, channels=[4, 6]), channels_last=key) for key in (False, True))
    for module in (plain, ours):
        fit(module)
    for (name, expected), value in zip(plain.named_parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(value, expected, atol=1e-4, rtol=1e-3, msg=name)
    convolution = ours.encoder.stages[1][0]
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    seen = []
    convolution.register_forward_hook(lambda layer, given, _: seen.append(given[0]))
    ours.encoder(torch.rand(2, 1, 8, 8))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        plain.load_state_dict(ours.state_dict())
    assert encoder_hash(plain.encoder) == encoder_hash(ours.encoder)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_encoder_trains_to_the_same_weights_and_keeps_its_name(monkeypatch, backend):
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend=backend))
    plain, ours = (
        built(EmbeddingModule, lambda: MLPEncoder(3, hidden_sizes=[4]), compile=key) for key in (False, True)
    )
    for module in (plain, ours):
        fit(module)
    assert ours.encoder._compiled_call_impl is not None
    assert list(ours.state_dict()) == list(plain.state_dict())
    for expected, value in zip(plain.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-4)
    plain.load_state_dict(ours.state_dict())
    assert encoder_hash(plain.encoder) == encoder_hash(ours.encoder)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize(
    "encoder",
    [
        lambda: WhitenedConvEncoder(channels=(4, 6)),
        lambda: WhitenedConvEncoder(channels=(4, 6), residual=True),
        lambda: ResidualEncoder(3, channels=[4, 6], blocks=[0, 1], pooling="max"),
    ],
)
def test_a_compiled_convolutional_encoder_has_the_same_gradients_under_16_bits(encoder):
    torch.manual_seed(0)
    network, images = encoder(), torch.rand(20, 3, 16, 16)
    network(images)
    gradients = []
    for compiled in (False, True):
        if compiled:
            network.compile()
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = network(images)
        embeddings.float().square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.requires_grad]).double())
    plain, ours = gradients
    assert (ours - plain).norm() < 0.1 * plain.norm()  # of 16 bits; they were nan


def test_a_machine_without_a_compiler_is_told(monkeypatch):
    monkeypatch.setattr("dml.modules.layout.shutil.which", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"model\.compile needs a C\+\+ compiler"):
        fit(built(EmbeddingModule, lambda: MLPEncoder(3), compile=True))


def test_muon_takes_a_convolutional_encoder_with_its_fallback():
    muon = pytest.importorskip("timm.optim").Muon
    module = built(
        EmbeddingModule, lambda: ConvEncoder(3, channels=[4]), optimizer=lambda learnt: muon(learnt, lr=0.02)
    )
    trainer = fit(module)
    kinds = {p.ndim for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert kinds == {1, 2, 4}
    assert all(bool(torch.isfinite(p).all()) for p in module.parameters())


def test_torchs_own_muon_says_what_it_cannot_learn_and_who_can():
    muon = getattr(torch.optim, "Muon", None)
    if muon is None:
        pytest.skip("this torch has no Muon")
    with pytest.raises(UserError, match=r"only supports 2D parameters .*timm\.optim\.Muon") as told:
        fit(built(EmbeddingModule, lambda: ConvEncoder(3, channels=[4]), optimizer=muon))
    assert "\n" not in str(told.value)
    matrices = nn.Sequential(nn.Linear(2, 2, bias=False))
    assert len(muon(matrices.parameters()).param_groups) == 1
