"""Low-rank adaptation: the network stays, the change is alpha/rank·B·A, and what is exported holds it."""

import copy
import sys

import pytest
import torch
from torch import nn

from dml.encoders import ConvEncoder, LoRAEncoder, TimmEncoder, TorchvisionEncoder, encoder_hash, materialize
from dml.errors import UserError
from dml.losses import TripletLoss
from dml.modules import EmbeddingModule

pytest.importorskip("peft", reason="peft is an optional package")
SHAPE = (3, 32, 32)


def small(**keys):
    torch.manual_seed(0)
    encoder = TorchvisionEncoder("resnet18", embedding_dim=5, **keys)
    materialize(encoder, SHAPE)
    return encoder


def disturbed(encoder):
    """Give every B some numbers, as training does."""
    generator = torch.Generator().manual_seed(1)
    for name, weight in encoder.named_parameters():
        if "lora_B" in name:
            weight.data.copy_(0.05 * torch.randn(weight.shape, generator=generator))
    return encoder.eval()


def by_hand(plain, lora, scale):
    """Return a network in double precision whose weights hold the change."""
    plain = copy.deepcopy(plain).double()
    weights = {name: value.double() for name, value in lora.named_parameters()}
    changed = 0
    for name, module in plain.network.named_modules():
        key = f"encoder.network.{name}.lora_A.default.weight"
        if key in weights:
            first, second = weights[key], weights[key.replace("lora_A", "lora_B")]
            change = torch.einsum("or,r...->o...", second.flatten(1), first)
            module.weight.data += scale * change
            changed += 1
    return plain.eval(), changed


def test_it_starts_from_the_network_and_gives_what_the_products_give():
    plain, images = small().eval(), torch.rand(4, *SHAPE) * 2 - 1
    lora = LoRAEncoder(copy.deepcopy(plain), rank=3, alpha=6).eval()
    torch.testing.assert_close(lora(images), plain(images))
    expected, changed = by_hand(plain, disturbed(lora), scale=2.0)
    assert changed == 20  # every convolution of a ResNet-18
    assert not torch.allclose(lora(images), plain(images), atol=1e-3)
    torch.testing.assert_close(lora(images).double(), expected(images.double()), atol=1e-4, rtol=1e-4)
    merged = lora.merged()
    assert merged.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(merged(images), lora(images), atol=1e-4, rtol=1e-4)
    assert encoder_hash(lora) == encoder_hash(lora) != encoder_hash(merged)


def test_a_step_moves_low_rank_matrices_and_the_projection_alone():
    module = EmbeddingModule(LoRAEncoder(small(), dropout=0.1), TripletLoss(margin=0.5))
    before = copy.deepcopy(module.state_dict())
    module.train()
    optimizer = torch.optim.SGD(module.learnt_parameters(), lr=1.0)
    for _ in range(2):  # B starts at 0, so A moves in the second
        labels = torch.arange(8) // 2
        loss = module.loss(module(torch.rand(8, *SHAPE)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moved = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    learnt = {name for name in before if "lora_" in name or "projection" in name}
    assert moved == learnt
    assert {name for name, p in module.named_parameters() if p.requires_grad} == learnt
    dropping = [part for part in module.modules() if isinstance(part, nn.Dropout)]
    assert dropping
    assert all(part.training for part in dropping)
    assert not any(part.training for part in module.modules() if isinstance(part, nn.BatchNorm2d))


def test_weights_are_saved_and_loaded():
    lora = disturbed(LoRAEncoder(small(), rank=2))
    torch.manual_seed(5)
    other = LoRAEncoder(TorchvisionEncoder("resnet18", embedding_dim=5), rank=2).eval()
    other.load_state_dict(lora.state_dict())
    images = torch.rand(2, *SHAPE)
    torch.testing.assert_close(other(images), lora(images), rtol=0, atol=0)


def test_attention_of_timms_transformers_is_adapted_and_targets_choose():
    pytest.importorskip("timm", reason="timm is an optional package")
    every = LoRAEncoder(TimmEncoder("vit_tiny_patch16_224", embedding_dim=4))
    some = LoRAEncoder(TimmEncoder("vit_tiny_patch16_224", embedding_dim=4), targets=["qkv"])
    names = [
        {name.partition(".lora_A")[0] for name, _ in e.named_parameters() if ".lora_A" in name} for e in (every, some)
    ]
    assert len(names[1]) == 12
    assert all(name.endswith("qkv") for name in names[1])
    assert names[1] < names[0]


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: LoRAEncoder(ConvEncoder(8)), "adapts networks of torchvision and timm, not ConvEncoder"),
        (lambda: LoRAEncoder(small(), rank=0), "rank=0"),
        (lambda: LoRAEncoder(small(), alpha=0), "alpha=0"),
        (lambda: LoRAEncoder(small(), dropout=1), "dropout=1"),
        (lambda: LoRAEncoder(small(), targets=["qkv"]), r"targets=\['qkv'\]: no linear layer or convolution"),
    ],
)
def test_mistakes_are_told(build, told):
    with pytest.raises(UserError, match=told):
        build()


def test_without_peft(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"peft is not installed: .*dml\[lora\]"):
        LoRAEncoder(small())
